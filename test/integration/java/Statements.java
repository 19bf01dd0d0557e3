import java.sql.Array;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * JDBC with its defaults: a PreparedStatement's fifth execution names it at the server. Arguments: port, clients,
 * rounds; test_driver_statements.py says what a workload does.
 */
class Statements {
    private static String url;

    private final int k;
    private final Connection c;
    private final Set<Integer> seen = new HashSet<>();

    private Statements(int k) throws SQLException {
        this.k = k;
        this.c = connect();
    }

    public static void main(String[] args) throws Exception {
        url = "jdbc:postgresql://127.0.0.1:" + args[0] + "/app";
        int clients = Integer.parseInt(args[1]), rounds = Integer.parseInt(args[2]), changed = 0;
        ExecutorService threads = Executors.newFixedThreadPool(clients);
        List<Future<Set<Integer>>> all = new ArrayList<>();

        for (int k = 0; k < clients; k++) {
            int client = k;
            all.add(threads.submit(() -> new Statements(client).work(rounds)));
        }
        threads.shutdown();
        for (Future<Set<Integer>> one : all)
            changed += one.get().size() > 1 ? 1 : 0;
        System.out.println("done " + changed);
    }

    private static Connection connect() throws SQLException {
        return DriverManager.getConnection(url, "app", "");
    }

    private Set<Integer> work(int rounds) throws Exception {
        try (c) {
            for (int n = 0; n < rounds; n++) {
                int base = 1000000 * (k + 1) + 1000 * n;

                named(base);
                several(base);
                unnamed(base);
                transactions(base);
                batch(base);
                portions(base);
                errors(base);
                changeOfATable(base);
                closing(base);
            }
            moreThanTheDriverKeeps(1000000 * (k + 1));
            if (k == 0)
                cancel(1000000);
        }
        return seen;
    }

    private void named(int base) throws SQLException {
        try (PreparedStatement s = c.prepareStatement("SELECT ?::int, ?::text, pg_backend_pid()")) {
            for (int i = 0; i < 30; i++) {
                s.setInt(1, base + i);
                s.setString(2, "ünï " + (base + i));
                try (ResultSet r = s.executeQuery()) {
                    check(r.next() && r.getInt(1) == base + i, "value");
                    check(r.getString(2).equals("ünï " + (base + i)), "text");
                    seen.add(r.getInt(3));
                }
            }
        }
    }

    private void several(int base) throws SQLException {
        for (int i = 0; i < 20; i++)
            for (int n = 0; n < 6; n++)
                check(number("SELECT ?::int + " + n, base + i) == base + i + n, "several");
    }

    /** The driver keeps 256 statements and closes the one it has used least recently. */
    private void moreThanTheDriverKeeps(int base) throws SQLException {
        for (int n = 0; n < 260; n++)
            try (PreparedStatement s = c.prepareStatement("SELECT ?::int + " + n)) {
                for (int i = 0; i < 6; i++) {
                    s.setInt(1, base);
                    try (ResultSet r = s.executeQuery()) {
                        check(r.next() && r.getInt(1) == base + n, "more than the driver keeps");
                    }
                }
            }
        check(number("SELECT ?::int + 0", base) == base, "the first one again");
    }

    private void unnamed(int base) throws SQLException {
        try (Statement s = c.createStatement()) {
            for (int i = 0; i < 10; i++)
                try (ResultSet r = s.executeQuery("SELECT " + (base + i))) {
                    check(r.next() && r.getInt(1) == base + i, "unnamed");
                }
        }
        for (int i = 0; i < 10; i++)
            check(number("SELECT ?::int * 2 -- " + i, base + i) == 2 * (base + i), "once each");
    }

    private void transactions(int base) throws SQLException {
        c.setAutoCommit(false);
        for (int i = 0; i < 10; i++)
            insert(base + i, "t" + (base + i));
        c.commit();
        insert(base + 10, "rolled back");
        expect("23505", () -> insert(base, "again"));
        expect("25P02", () -> insert(base + 11, "too late"));
        c.rollback();
        insert(base + 10, "rolled back");
        c.rollback();
        c.setAutoCommit(true);
        check(count(base) == 10, "ten rows");
    }

    private void batch(int base) throws SQLException {
        int[] counts;

        try (PreparedStatement s = c.prepareStatement("INSERT INTO work VALUES (?, ?, ?)")) {
            for (int i = 0; i < 50; i++)
                addToBatch(s, base + 100 + i);
            counts = s.executeBatch();
            check(Arrays.stream(counts).sum() == 50, "batch");
            for (int i = 0; i < 10; i++)
                addToBatch(s, base + 500 + i % 5);
            expect("23505", s::executeBatch);
        }
        check(count(base + 100) == 50, "what the first batch has put in");
        try (PreparedStatement s = c.prepareStatement("SELECT ?::int = ANY (?)")) {
            for (int i = 0; i < 6; i++) {
                Array ids = c.createArrayOf("int4", new Integer[] {base, base + 1});

                s.setInt(1, base + i);
                s.setArray(2, ids);
                try (ResultSet r = s.executeQuery()) {
                    check(r.next() && r.getBoolean(1) == (i < 2), "array");
                }
            }
        }
    }

    /** With a fetch size the result comes in portions, through a portal of a named statement. */
    private void portions(int base) throws SQLException {
        c.setAutoCommit(false);
        for (int i = 0; i < 8; i++)
            try (PreparedStatement s = c.prepareStatement("SELECT ?::int + generate_series(1, 40)")) {
                int n = 0;

                s.setFetchSize(7);
                s.setInt(1, base + i);
                try (ResultSet r = s.executeQuery()) {
                    while (r.next())
                        check(r.getInt(1) == base + i + ++n, "portion");
                }
                check(n == 40, "portions");
                if (i % 3 == 0)
                    c.commit();
            }
        c.commit();
        c.setAutoCommit(true);
    }

    private void errors(int base) throws SQLException {
        for (int i = 0; i < 8; i++) {
            expect("42601", () -> number("SELECT ?::int FROM FROM", base));
            expect("22012", () -> number("SELECT ?::int / 0", base));
            expect("23505", () -> insert(base, "again"));
            check(number("SELECT ?::int + 3", base) == base + 3, "after an error");
        }
    }

    private void cancel(int base) throws Exception {
        try (PreparedStatement s = c.prepareStatement("SELECT ?::int, pg_sleep(100)")) {
            Thread canceller = new Thread(() -> {
                try {
                    while (true) {
                        Thread.sleep(200);
                        s.cancel();
                    }
                } catch (InterruptedException end) {
                } catch (SQLException e) {
                    throw new IllegalStateException(e);
                }
            });

            s.setInt(1, base);
            canceller.start();
            expect("57014", s::executeQuery);
            canceller.interrupt();
            canceller.join();
            s.setQueryTimeout(1);
            expect("57014", s::executeQuery);
        }
        check(number("SELECT ?::int + 3", base) == base + 3, "after a cancel");
    }

    /** Told once that the result has changed, the driver prepares anew. */
    private void changeOfATable(int base) throws SQLException {
        String query = "SELECT * FROM shape_" + k;
        int columns = 0, now;

        for (int i = 0; i < 8; i++)
            columns = width(c, query, 0);
        try (Connection other = connect(); Statement s = other.createStatement()) {
            s.execute("ALTER TABLE shape_" + k + " ADD b" + base + " int DEFAULT " + base);
        }
        try {
            now = width(c, query, base);
        } catch (SQLException e) {
            check(e.getSQLState().equals("0A000"), e.toString());
            check(e.getMessage().contains("cached plan must not change result type"), e.toString());
            now = width(c, query, base);
        }
        check(now == columns + 1, "one more column");
        try (Connection fresh = connect()) {
            for (int i = 0; i < 8; i++)
                check(width(fresh, query, base) == columns + 1, "a new client sees it");
        }
    }

    /** How many columns there are, the last of which has this value, unless 0. */
    private static int width(Connection c, String query, int last) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(query); ResultSet r = s.executeQuery()) {
            int n = r.getMetaData().getColumnCount();

            check(r.next() && (last == 0 || r.getInt(n) == last), "last column");
            return n;
        }
    }

    private void closing(int base) throws SQLException {
        try (Statement s = c.createStatement()) {
            s.execute("PREPARE mine (int) AS SELECT $1 + 1");
            for (int i = 0; i < 10; i++)
                try (ResultSet r = s.executeQuery("EXECUTE mine (" + (base + i) + ")")) {
                    check(r.next() && r.getInt(1) == base + i + 1, "EXECUTE");
                }
            s.execute("DEALLOCATE mine");
            expect("26000", () -> s.execute("EXECUTE mine (1)"));
            // The driver sees the answer to this and forgets its names.
            s.execute("DEALLOCATE ALL");
        }
        check(number("SELECT ?::int + 3", base) == base + 3, "after DEALLOCATE ALL");
    }

    private int number(String query, int value) throws SQLException {
        try (PreparedStatement s = c.prepareStatement(query)) {
            s.setInt(1, value);
            try (ResultSet r = s.executeQuery()) {
                check(r.next(), "a row");
                return r.getInt(1);
            }
        }
    }

    private int count(int from) throws SQLException {
        try (PreparedStatement s = c.prepareStatement("SELECT count(*) FROM work WHERE client = ? AND id >= ?")) {
            s.setInt(1, k);
            s.setInt(2, from);
            try (ResultSet r = s.executeQuery()) {
                check(r.next(), "a count");
                return r.getInt(1);
            }
        }
    }

    private void addToBatch(PreparedStatement s, int id) throws SQLException {
        s.setInt(1, k);
        s.setInt(2, id);
        s.setString(3, "batch");
        s.addBatch();
    }

    private void insert(int id, String text) throws SQLException {
        try (PreparedStatement s = c.prepareStatement("INSERT INTO work VALUES (?, ?, ?)")) {
            s.setInt(1, k);
            s.setInt(2, id);
            s.setString(3, text);
            s.executeUpdate();
        }
    }

    private interface Action {
        void run() throws SQLException;
    }

    private static void expect(String state, Action action) {
        try {
            action.run();
        } catch (SQLException e) {
            check(state.equals(e.getSQLState()), state + " was expected: " + e);
            return;
        }
        throw new AssertionError("no error: " + state);
    }

    private static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }
}
