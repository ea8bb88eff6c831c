// The `fetch` of a web page of another origin, as the Fetch standard has it: it asks
// the server before each kind of call and hides headers that were not exposed.

const SAFE_REQUEST_HEADERS = new Set(["accept", "accept-language", "content-language", "content-type", "range"]);
const SAFE_CONTENT_TYPES = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
const SAFE_ANSWER_HEADERS = ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];

const names = (list) => (list ?? "").toLowerCase().split(",").map((name) => name.trim()).filter(Boolean);

/** The `fetch` of pages of an origin. */
export function pageFetch(origin) {
  const allowed = new Set();

  async function preflight(url, method, asked) {
    const headers = { Origin: origin, "Access-Control-Request-Method": method };
    if (asked.length) headers["Access-Control-Request-Headers"] = asked.join(",");
    const answer = await fetch(url, { method: "OPTIONS", headers });
    if (!answer.ok) throw new TypeError(`the server turns the origin ${origin} away: ${answer.status}`);
    checkOrigin(answer);
    const methods = names(answer.headers.get("access-control-allow-methods"));
    if (method !== "POST" && !methods.includes(method.toLowerCase())) throw new TypeError(`${method} is not allowed`);
    const granted = names(answer.headers.get("access-control-allow-headers"));
    for (const name of asked) {
      if (!granted.includes(name) && !granted.includes("*")) throw new TypeError(`the header ${name} is not allowed`);
    }
  }

  function checkOrigin(answer) {
    const granted = answer.headers.get("access-control-allow-origin");
    if (granted !== "*" && granted !== origin) throw new TypeError(`the origin ${origin} is not allowed, only ${granted}`);
  }

  async function call(url, options = {}) {
    const headers = new Headers(options.headers);
    const asked = [...headers.keys()].filter((name) => !SAFE_REQUEST_HEADERS.has(name));
    const type = headers.get("content-type");
    if (type && !SAFE_CONTENT_TYPES.includes(type)) asked.push("content-type");
    const method = options.method ?? "GET";
    const kind = `${method} ${url} ${asked.sort()}`;
    if (asked.length && !allowed.has(kind)) {
      await preflight(url, method, asked);
      allowed.add(kind);
    }
    headers.set("Origin", origin);
    // Other modes would let Node drop the header or the body.
    const answer = await fetch(url, { ...options, headers, mode: undefined, credentials: undefined });
    checkOrigin(answer);
    const exposed = [...SAFE_ANSWER_HEADERS, ...names(answer.headers.get("access-control-expose-headers"))];
    const shown = [...answer.headers].filter(([name]) => exposed.includes("*") || exposed.includes(name));
    return new Response(answer.body, { status: answer.status, headers: shown });
  }
  call.preflights = () => allowed.size;
  return call;
}
