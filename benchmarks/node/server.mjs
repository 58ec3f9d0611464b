// server: Node's own servers, for the same load generators: node server.mjs KIND [CERTIFICATE KEY]
//
//   echo, echo-default-backlog   sends back what it gets
//   echo-close                   answers once and closes
//   http                         says hello
//   tls-echo                     echo over TLS, with a certificate and key in PEM files
//
// Prints the port that it listens on, on 127.0.0.1, and serves until it is killed.
import { readFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import tls from "node:tls";

const HELLO = "Hello, world!";
const BACKLOG = 4096;

function echo(socket) {
  socket.setNoDelay(true);
  socket.on("data", (data) => {
    if (!socket.write(data)) {
      socket.pause();
      socket.once("drain", () => socket.resume());
    }
  });
  socket.on("error", () => {}); // the load generator leaves by a reset
}

function echoClose(socket) {
  socket.setNoDelay(true);
  socket.on("data", (data) => socket.end(data));
  socket.on("error", () => {});
}

function hello(request, response) {
  response.writeHead(200, { "content-type": "text/plain", "content-length": HELLO.length });
  response.end(HELLO);
}

const [kind, certificate, key] = process.argv.slice(2);
const servers = {
  echo: () => net.createServer(echo),
  "echo-default-backlog": () => net.createServer(echo),
  "echo-close": () => net.createServer(echoClose),
  http: () => http.createServer(hello),
  "tls-echo": () => tls.createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, echo),
};
if (!(kind in servers)) throw new Error(`no such kind of server: ${kind}`);
const server = servers[kind]();
const options = { host: "127.0.0.1", port: 0 };
if (kind !== "echo-default-backlog") options.backlog = BACKLOG;
server.listen(options, () => console.log(server.address().port));
