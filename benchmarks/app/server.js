const express = require("express");
const app = express();
app.get("/", (request, response) => response.json({ release: 1 }));
app.listen(3000);
