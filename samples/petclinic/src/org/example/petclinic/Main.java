package org.example.petclinic;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.util.concurrent.Executors;

/** Serves the clinic; PORT, DATABASE_URL and CLINIC_NAME are read from the environment. */
public final class Main {
    private Main() {
    }

    public static void main(String[] args) throws IOException, SQLException {
        int port = Integer.parseInt(env("PORT", "8080"));
        // The database is closed by us, after the server, and not by a shutdown hook of its own.
        String url = env("DATABASE_URL", "jdbc:h2:mem:clinic") + ";DB_CLOSE_ON_EXIT=FALSE";
        Clinic clinic = new Clinic(DriverManager.getConnection(url));

        HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.createContext("/", new Api(clinic, env("CLINIC_NAME", "Pet Clinic")));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(server, clinic)));
        server.start();
        System.out.println("listening on port " + port);
    }

    private static void stop(HttpServer server, Clinic clinic) {
        server.stop(0);
        try {
            clinic.close();
        } catch (SQLException error) {
            System.err.println(error);
        }
    }

    private static String env(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }
}
