package org.example.petclinic;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.sql.SQLException;
import java.time.DateTimeException;
import java.time.LocalDate;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The page at / and JSON under /api:
 * GET and POST /api/owners, GET /api/owners/1, POST /api/owners/1/pets, POST /api/pets/1/visits, GET /healthz.
 * What is posted is a form (application/x-www-form-urlencoded).
 */
final class Api implements HttpHandler {
    private static final Pattern OWNER = Pattern.compile("/api/owners/(\\d{1,9})");
    private static final Pattern PETS = Pattern.compile("/api/owners/(\\d{1,9})/pets");
    private static final Pattern VISITS = Pattern.compile("/api/pets/(\\d{1,9})/visits");
    private static final int LARGEST_FORM = 10_000;

    private final Clinic clinic;
    private final String title;

    Api(Clinic clinic, String title) {
        this.clinic = clinic;
        this.title = title;
    }

    private record Answer(int status, String type, String body) {
        static Answer json(int status, Object value) {
            return new Answer(status, "application/json", Json.write(value));
        }

        static Answer created(Optional<?> value) {
            return value.<Answer>map(it -> json(201, it)).orElseGet(Answer::notFound);
        }

        static Answer error(int status, String text) {
            return json(status, Map.of("error", text));
        }

        static Answer notFound() {
            return error(404, "no such thing");
        }
    }

    @Override
    public void handle(HttpExchange exchange) throws IOException {
        Answer answer;
        try {
            answer = answer(exchange);
        } catch (IllegalArgumentException | DateTimeException error) {
            answer = Answer.error(400, error.getMessage());
        } catch (SQLException error) {
            System.err.println(error);
            answer = Answer.error(500, "the database does not answer");
        }
        byte[] body = answer.body().getBytes(StandardCharsets.UTF_8);
        try (exchange) {
            exchange.getResponseHeaders().set("Content-Type", answer.type() + "; charset=utf-8");
            exchange.sendResponseHeaders(answer.status(), body.length);
            exchange.getResponseBody().write(body);
        }
    }

    private Answer answer(HttpExchange exchange) throws IOException, SQLException {
        String path = exchange.getRequestURI().getPath();
        return switch (exchange.getRequestMethod()) {
            case "GET" -> get(path);
            case "POST" -> post(path, form(exchange));
            default -> Answer.error(405, "GET or POST");
        };
    }

    private Answer get(String path) throws SQLException {
        switch (path) {
            case "/":
                return new Answer(200, "text/html", Page.of(title, clinic.owners()));
            case "/healthz":
                return Answer.json(200, Map.of("status", "ok"));
            case "/api/owners":
                return Answer.json(200, clinic.owners());
            default:
                Matcher owner = OWNER.matcher(path);
                return owner.matches()
                        ? clinic.owner(id(owner)).<Answer>map(it -> Answer.json(200, it)).orElseGet(Answer::notFound)
                        : Answer.notFound();
        }
    }

    private Answer post(String path, Map<String, String> form) throws SQLException {
        if (path.equals("/api/owners")) {
            return Answer.json(201, clinic.addOwner(text(form, "name"), text(form, "city")));
        }
        Matcher pets = PETS.matcher(path);
        if (pets.matches()) {
            return Answer.created(clinic.addPet(id(pets), text(form, "name"), text(form, "species")));
        }
        Matcher visits = VISITS.matcher(path);
        if (visits.matches()) {
            LocalDate day = LocalDate.parse(text(form, "day"));
            return Answer.created(clinic.addVisit(id(visits), day, text(form, "reason")));
        }
        return Answer.notFound();
    }

    private static int id(Matcher path) {
        return Integer.parseInt(path.group(1));
    }

    private static String text(Map<String, String> form, String name) {
        String value = form.getOrDefault(name, "").strip();
        if (value.isEmpty() || value.length() > 80) {
            throw new IllegalArgumentException(name + " must have 1 to 80 characters");
        }
        return value;
    }

    private static Map<String, String> form(HttpExchange exchange) throws IOException {
        String body = new String(exchange.getRequestBody().readNBytes(LARGEST_FORM), StandardCharsets.UTF_8);
        Map<String, String> form = new HashMap<>();
        for (String pair : body.split("&")) {
            String[] parts = pair.split("=", 2);
            if (parts.length == 2) {
                form.put(decode(parts[0]), decode(parts[1]));
            }
        }
        return form;
    }

    private static String decode(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }
}
