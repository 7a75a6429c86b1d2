import { createApp } from "./app.js";

const port = Number(process.env.PORT ?? 3000);
const app = createApp(process.env.PUBLIC_DIR ?? "public", process.env.TITLE ?? "Short links");

const server = app.listen(port, (error) => {
  if (error) throw error;
  console.log(`listening on port ${port}`);
});

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    console.log(`${signal}: closing`);
    server.close();
    server.closeAllConnections();
  });
}
