import express, { type Express } from "express";
import { Links, webAddress } from "./links.js";

/** The page, the JSON API under /api, and the short links themselves under /to. */
export function createApp(publicDir: string, title: string): Express {
  const app = express();
  const links = new Links();

  app.disable("x-powered-by");
  app.use(express.json({ limit: "10kb" }));
  app.use(express.static(publicDir));

  app.get("/healthz", (_request, response) => {
    response.json({ status: "ok", title });
  });

  app.get("/api/links", (_request, response) => {
    response.json(links.all());
  });

  app.post("/api/links", (request, response) => {
    const url = webAddress(request.body?.url);
    if (url === undefined) {
      response.status(400).json({ error: "url must be an http or https address" });
      return;
    }
    response.status(201).json(links.add(url));
  });

  app.get("/to/:id", (request, response) => {
    const url = links.follow(request.params.id);
    if (url === undefined) {
      response.status(404).json({ error: "no such link" });
      return;
    }
    response.redirect(url);
  });

  return app;
}
