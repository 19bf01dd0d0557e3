import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** JDBC on the console: the argument is the URL. */
class Console {
    public static void main(String[] args) throws Exception {
        try (Connection c = DriverManager.getConnection(args[0], "admin", "")) {
            // From the sixth on it uses a prepared statement, and asks for binary.
            try (PreparedStatement s = c.prepareStatement("SHOW POOLS")) {
                for (int i = 0; i < 12; i++)
                    lookAtPools(s);
            }
            try (Statement s = c.createStatement(); ResultSet r = s.executeQuery("SHOW STATS")) {
                check(r.getMetaData().getColumnCount() == 23, "columns");
                while (r.next())
                    check(r.getBigDecimal("total_query_count").signum() >= 0, "count");
            }
            try (Statement s = c.createStatement()) {
                s.execute("SET default_pool_size = 9");
                s.execute("RELOAD");
            }
            c.setReadOnly(true);
            c.setReadOnly(false);
            c.setAutoCommit(false);
            try (Statement s = c.createStatement()) {
                s.setFetchSize(10);
                int n = 0;
                try (ResultSet r = s.executeQuery("SHOW CONFIG")) {
                    while (r.next())
                        n++;
                }
                check(n > 100, "in portions");
            }
            c.commit();
            try (Statement s = c.createStatement()) {
                s.executeQuery("SELECT 1");
                throw new AssertionError("this is no server");
            } catch (SQLException e) {
                check(e.getSQLState().equals("42601"), e.getSQLState());
            }
            c.rollback();
            try (PreparedStatement s = c.prepareStatement("SHOW POOLS")) {
                lookAtPools(s);
            }
            c.commit();
        }
        System.out.println("done");
    }

    private static void lookAtPools(PreparedStatement s) throws SQLException {
        try (ResultSet r = s.executeQuery()) {
            boolean seen = false;
            while (r.next())
                seen |= r.getString("database").equals("pgbouncer") && r.getInt("cl_active") == 1;
            check(seen, "the console's pool");
        }
    }

    private static void check(boolean holds, String what) {
        if (!holds)
            throw new AssertionError(what);
    }
}
