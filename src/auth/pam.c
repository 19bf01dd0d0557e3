#include "auth/pam.h"

#include <stdio.h>

#ifdef HAVE_PAM

#include <security/pam_appl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

/* Longer delays than this are cut: nobody waits for them. */
#define DELAY_MAX_US (10u * 1000 * 1000)

/* What the modules' questions are answered from. */
struct talk {
	const char *password;
	uint32_t delay_us;
};

static void free_replies(struct pam_response *replies, int n)
{
	for (int i = 0; i < n; i++)
		sys_wipe_text(&replies[i].resp);
	free(replies);
}

/* NULL to a question that a password does not answer. */
static char *reply_to(const struct pam_message *message, const struct talk *talk)
{
	switch (message->msg_style) {
	case PAM_PROMPT_ECHO_OFF:
		return strdup(talk->password);
	case PAM_TEXT_INFO:
	case PAM_ERROR_MSG:
		return strdup("");
	default:
		return NULL;
	}
}

/* The modules free what is handed to them. */
static int converse(int n, const struct pam_message **messages, struct pam_response **out, void *arg)
{
	struct pam_response *replies;

	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	replies = calloc((size_t)n, sizeof(*replies));
	if (replies == NULL)
		return PAM_BUF_ERR;
	for (int i = 0; i < n; i++) {
		replies[i].resp = reply_to(messages[i], arg);
		if (replies[i].resp == NULL) {
			free_replies(replies, i);
			return PAM_CONV_ERR;
		}
	}
	*out = replies;
	return PAM_SUCCESS;
}

/* Called where PAM would sleep after a failure: the pooler waits instead, and this process is free for
 * others. */
static void note_delay(int result, unsigned delay_us, void *arg)
{
	struct talk *talk = arg;

	if (result != PAM_SUCCESS)
		talk->delay_us = delay_us < DELAY_MAX_US ? delay_us : DELAY_MAX_US;
}

/* PAM_SYSTEM_ERR is not among those: pam_exec says it when its program has refused the user. */
static enum external_verdict verdict_of(int result)
{
	switch (result) {
	case PAM_SUCCESS:
		return EXTERNAL_ACCEPTED;
	case PAM_OPEN_ERR:
	case PAM_SYMBOL_ERR:
	case PAM_SERVICE_ERR:
	case PAM_BUF_ERR:
	case PAM_AUTHINFO_UNAVAIL:
	case PAM_CONV_ERR:
	case PAM_ABORT:
	case PAM_MODULE_UNKNOWN:
		return EXTERNAL_UNAVAILABLE;
	default:
		return EXTERNAL_REFUSED;
	}
}

static int set_items(pam_handle_t *pam, const struct external_login *login)
{
	/* An item is a pointer to an object; ISO C has no cast from a function to that. */
	void (*fn)(int, unsigned, void *) = note_delay;
	void *delay;
	int result;

	memcpy(&delay, &fn, sizeof(delay));
	result = pam_set_item(pam, PAM_FAIL_DELAY, delay);
	if (result == PAM_SUCCESS && login->remote_host[0] != '\0')
		result = pam_set_item(pam, PAM_RHOST, login->remote_host);
	return result;
}

bool pam_is_supported(void)
{
	return true;
}

void pam_verify(const struct external_login *login, const char *confdir, struct external_answer *answer)
{
	struct talk talk = {.password = login->password};
	const struct pam_conv conversation = {converse, &talk};
	pam_handle_t *pam = NULL;
	const char *step = "pam_start";
	int result;

	result = confdir == NULL
			 ? pam_start(login->target, login->user, &conversation, &pam)
			 : pam_start_confdir(login->target, login->user, &conversation, confdir, &pam);
	if (result == PAM_SUCCESS) {
		step = "pam_set_item";
		result = set_items(pam, login);
	}
	if (result == PAM_SUCCESS) {
		step = "pam_authenticate";
		result = pam_authenticate(pam, PAM_SILENT);
	}
	if (result == PAM_SUCCESS) {
		step = "pam_acct_mgmt";
		result = pam_acct_mgmt(pam, PAM_SILENT);
	}
	answer->verdict = verdict_of(result);
	answer->delay_us = talk.delay_us;
	if (result != PAM_SUCCESS)
		snprintf(answer->why, sizeof(answer->why), "PAM service \"%s\": %s: %s", login->target, step,
			 pam_strerror(pam, result));
	if (pam != NULL)
		pam_end(pam, result);
}

#else

bool pam_is_supported(void)
{
	return false;
}

void pam_verify(const struct external_login *login, const char *confdir, struct external_answer *answer)
{
	(void)login;
	(void)confdir;
	answer->verdict = EXTERNAL_UNAVAILABLE;
	snprintf(answer->why, sizeof(answer->why), "this program was built without PAM");
}

#endif
