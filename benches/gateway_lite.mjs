// npm's @supabase/lite in front of a PostgreSQL database: node gateway_lite.mjs URL SECRET POOL_SIZE
// Its checks of API keys and its studio are off; tokens are verified and policies apply.
import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { createPostgresConnection } from "@supabase/lite/postgres";

const [url, secret, poolSize] = process.argv.slice(2);
const place = new URL(url.replace("@/", "@localhost/"));
const connection = createPostgresConnection({
  url: `postgresql://localhost${place.pathname}`,
  postgresOptions: {
    host: place.searchParams.get("host"),
    port: Number(place.searchParams.get("port")),
    path: `${place.searchParams.get("host")}/.s.PGSQL.${place.searchParams.get("port")}`,
    username: decodeURIComponent(place.username),
    password: decodeURIComponent(place.password),
    max: Number(poolSize),
    onnotice: () => {},
  },
});
const app = new App({
  connection,
  auth: { enabled: true, jwt_secret: secret },
  options: { server: { apiKeys: false, disableStudio: true } },
});
await app.ensureSystemSchema(); // it looks the user and the session of a token up
serve(
  { port: 0, hostname: "127.0.0.1", fetch: (request) => app.fetch(request) },
  (address) => console.log(address.port),
);
