#include "proto/rules.h"

const uint8_t client_rules[256] = {
	['Q'] = REQUEST_FORWARD,   /* Query */
	['P'] = REQUEST_FORWARD,   /* Parse */
	['B'] = REQUEST_FORWARD,   /* Bind */
	['D'] = REQUEST_FORWARD,   /* Describe */
	['E'] = REQUEST_FORWARD,   /* Execute */
	['C'] = REQUEST_FORWARD,   /* Close */
	['H'] = REQUEST_FORWARD,   /* Flush */
	['S'] = REQUEST_FORWARD,   /* Sync */
	['F'] = REQUEST_FORWARD,   /* FunctionCall */
	['d'] = REQUEST_COPY,      /* CopyData */
	['c'] = REQUEST_COPY,      /* CopyDone */
	['f'] = REQUEST_COPY,      /* CopyFail */
	['X'] = REQUEST_TERMINATE, /* Terminate */
};

bool client_large_is_too_long(char type, uint32_t len)
{
	bool may_be_large = type == 'Q' || type == 'P' || type == 'B' || type == 'F' || type == 'd';

	return len > (may_be_large ? REQUEST_LARGE_MAX : REQUEST_SMALL_MAX) - sizeof(uint32_t);
}

const uint8_t server_rules[256] = {
	['1'] = REPLY_STEP,      /* ParseComplete */
	['2'] = REPLY_STEP,      /* BindComplete */
	['3'] = REPLY_STEP,      /* CloseComplete */
	['T'] = REPLY_STEP,      /* RowDescription */
	['n'] = REPLY_STEP,      /* NoData */
	['C'] = REPLY_STEP,      /* CommandComplete */
	['I'] = REPLY_STEP,      /* EmptyQueryResponse */
	['s'] = REPLY_STEP,      /* PortalSuspended */
	['V'] = REPLY_STEP,      /* FunctionCallResponse */
	['t'] = REPLY_PASS,      /* ParameterDescription */
	['D'] = REPLY_PASS,      /* DataRow */
	['H'] = REPLY_PASS,      /* CopyOutResponse */
	['W'] = REPLY_PASS,      /* CopyBothResponse */
	['d'] = REPLY_PASS,      /* CopyData */
	['c'] = REPLY_PASS,      /* CopyDone */
	['N'] = REPLY_PASS,      /* NoticeResponse */
	['A'] = REPLY_PASS,      /* NotificationResponse */
	['G'] = REPLY_COPY_IN,   /* CopyInResponse */
	['E'] = REPLY_ERROR,     /* ErrorResponse */
	['Z'] = REPLY_READY,     /* ReadyForQuery */
	['S'] = REPLY_PARAMETER, /* ParameterStatus */
};
