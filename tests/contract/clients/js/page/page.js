// What a page of another origin does with `supabase-js` as it comes; leaves what it saw in #told.

const told = [];

function tell(name, value) {
  told.push([name, value]);
  document.getElementById("told").textContent = JSON.stringify(told);
}

async function visit() {
  const { createClient } = supabase;
  const users = createClient(given.users.url, given.users.key);
  const accessToken = async () => (await users.auth.getSession()).data.session?.access_token ?? null;
  const products = createClient(given.products.url, given.products.key, { accessToken });
  const orders = createClient(given.orders.url, given.orders.key, { accessToken });

  const shown = await products
    .from("products")
    .select("title, product_variants(price)", { count: "exact" })
    .limit(2);
  tell("catalogue", [shown.error, shown.count > 2, shown.data.length]);
  tell("orders of nobody", (await orders.from("orders").select("id")).error.code);

  const { email, password } = given;
  const signedIn = await users.auth.signInWithPassword({ email, password });
  tell("signed in", [signedIn.error, signedIn.data.user?.email]);
  tell("orders", (await orders.from("orders").select("id")).error);

  const id = signedIn.data.user.id;
  const change = users.from("user_profiles").update({ display_name: "Ada L." }).eq("id", id);
  const changed = await change.select("display_name").single();
  tell("profile", [changed.error, changed.data]);
  const missing = await users.from("user_profiles").select("id").eq("id", given.nobody).single();
  tell("nobody", [missing.status, missing.error.code]);
  tell("signed out", (await users.auth.signOut()).error);
}

visit().then(
  () => tell("end", null),
  (error) => tell("failed", String(error)),
);
