// How the Rust tests talk to the scripts beside this file: one JSON object in on stdin, one out on stdout.

async function readAll(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return text;
}

// The error's own words and those of everything it wraps: bundler refusals sit several causes deep.
function describe(error) {
  const parts = [];
  for (let e = error; e && parts.length < 8; e = e.cause) {
    const text = [e.shortMessage ?? e.message, e.details].filter(Boolean).join(" | ");
    if (text && !parts.includes(text)) parts.push(text);
  }
  return parts.join(" <- ") || String(error);
}

/** Runs the command named in the request; `{ok: ...}` or `{error: text}` goes to stdout, everything the SDK logs to stderr. */
export async function serve(commands) {
  console.log = console.error;
  console.info = console.error;
  let answer;
  try {
    const request = JSON.parse(await readAll(process.stdin));
    const command = commands[request.command];
    if (!command) throw new Error(`unknown command ${request.command}`);
    answer = { ok: await command(request) };
  } catch (error) {
    answer = { error: describe(error) };
  }
  const text = JSON.stringify(answer, (_, value) => (typeof value === "bigint" ? value.toString() : value));
  process.stdout.write(`${text}\n`, () => process.exit(0));
}

async function rpc(url, method, params) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
  });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

/** The bundler's standard fees, as bigints. */
export async function fees(bundler) {
  const { standard } = await rpc(bundler, "pimlico_getUserOperationGasPrice", []);
  return {
    maxFeePerGas: BigInt(standard.maxFeePerGas),
    maxPriorityFeePerGas: BigInt(standard.maxPriorityFeePerGas),
  };
}

/** Waits until the bundler has a receipt. */
export async function outcome(bundler, userOpHash) {
  for (let i = 0; i < 300; i++) {
    const receipt = await rpc(bundler, "eth_getUserOperationReceipt", [userOpHash]);
    if (receipt) {
      return { userOpHash, transactionHash: receipt.receipt.transactionHash, success: receipt.success };
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no receipt for ${userOpHash} after 30 s`);
}

/** A permission as it travels in the request: amounts as decimal strings, `abi` as JSON. */
export function permission(wire) {
  return { ...wire, valueLimit: BigInt(wire.valueLimit ?? "0") };
}
