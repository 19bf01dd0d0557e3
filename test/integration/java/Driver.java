import java.io.StringReader;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import org.postgresql.PGConnection;

/** JDBC through the pooler: the argument is the URL. */
class Driver {
    public static void main(String[] args) throws Exception {
        try (Connection c = DriverManager.getConnection(args[0], "app", "secret")) {
            c.setAutoCommit(false);
            insert(c, 1, "ünï");
            c.commit();
            try {
                insert(c, 1, "again");
                throw new AssertionError("a duplicate key went in");
            } catch (SQLException e) {
                check(e.getSQLState().equals("23505"), e.getSQLState());
            }
            c.rollback();
            try (PreparedStatement s = c.prepareStatement("INSERT INTO driver VALUES (?, ?)")) {
                for (int i = 2; i < 500; i++) {
                    s.setInt(1, i);
                    s.setString(2, "x");
                    s.addBatch();
                }
                s.executeBatch();
            }
            c.commit();
            check(count(c, "SELECT * FROM driver") == 499, "batch");
            check(count(c, "SELECT generate_series(1, 100000)") == 100000, "large result");
            c.commit();
            long copied = c.unwrap(PGConnection.class).getCopyAPI()
                .copyIn("COPY driver FROM STDIN", new StringReader("1000\ta\n1001\tb\n"));
            check(copied == 2, "copy");
            c.commit();
        }
        System.out.println("done");
    }

    private static void insert(Connection c, int id, String text) throws SQLException {
        try (PreparedStatement s = c.prepareStatement("INSERT INTO driver VALUES (?, ?)")) {
            s.setInt(1, id);
            s.setString(2, text);
            s.executeUpdate();
        }
    }

    private static int count(Connection c, String query) throws SQLException {
        int n = 0;
        try (PreparedStatement s = c.prepareStatement(query)) {
            // With a fetch size the result comes in portions, through a portal.
            s.setFetchSize(1000);
            try (ResultSet r = s.executeQuery()) {
                while (r.next())
                    n++;
            }
        }
        return n;
    }

    private static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }
}
