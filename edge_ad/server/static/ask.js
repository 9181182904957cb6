// Requests to the stream. A viewer who is not logged in is sent to the login.

// 429: the session is over, and others at this address have shown too many wrong tokens.
export const mustLogIn = (response) => response.status === 401 || response.status === 429;

async function checked(response) {
  if (mustLogIn(response)) location.assign("/login");
  if (!response.ok) throw new Error((await response.text()).trim() || `Error ${response.status}`);
  return response;
}

export async function get(path) {
  return (await checked(await fetch(path))).json();
}

export async function post(path, body) {
  const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return (await checked(await fetch(path, options))).json();
}

export async function picture(path, signal) {
  const response = await checked(await fetch(path, { signal }));
  if (response.status === 204) return null;
  return { serial: response.headers.get("x-serial"), blob: await response.blob() };
}
