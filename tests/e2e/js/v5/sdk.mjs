// @zerodev/session-key 5.5.4: makes approvals and uses them, always on the SessionKeyValidator named in the request (its own
// default is the third generation, which is not on the local chain).
import { signerToEcdsaValidator } from "@zerodev/ecdsa-validator";
import { addressToEmptyAccount, createKernelAccount, createKernelAccountClient } from "@zerodev/sdk";
import { deserializeSessionKeyAccount, serializeSessionKeyAccount, signerToSessionKeyValidator } from "@zerodev/session-key";
import { createPublicClient, defineChain, http } from "viem";
import { entryPoint06Address } from "viem/account-abstraction";
import { privateKeyToAccount } from "viem/accounts";
import { fees, outcome, permission, serve } from "../io.mjs";

const entryPoint = { address: entryPoint06Address, version: "0.6" };

function localChain({ node, chainId }) {
  return defineChain({
    id: chainId,
    name: "local",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [node] } },
  });
}

function publicClient(request) {
  return createPublicClient({ chain: localChain(request), transport: http(request.node) });
}

await serve({
  /** `{ownerKey, index?, kernelVersion, validator, sessionKey | sessionAddress, sessionKeyData}` -> `{serialized, account}` */
  async approve(request) {
    const client = publicClient(request);
    const { kernelVersion, sessionKeyData: data } = request;
    const sudo = await signerToEcdsaValidator(client, {
      signer: privateKeyToAccount(request.ownerKey),
      entryPoint,
      kernelVersion,
    });
    const regular = await signerToSessionKeyValidator(client, {
      signer: request.sessionKey ? privateKeyToAccount(request.sessionKey) : addressToEmptyAccount(request.sessionAddress),
      entryPoint,
      kernelVersion,
      validatorAddress: request.validator,
      validatorData: { ...data, permissions: data.permissions.map(permission) },
    });
    const account = await createKernelAccount(client, {
      plugins: { sudo, regular },
      index: BigInt(request.index ?? 0),
      entryPoint,
      kernelVersion,
    });
    return { serialized: await serializeSessionKeyAccount(account, request.sessionKey), account: account.address };
  },

  /** `{serialized, kernelVersion, validator, sessionKey?, calls: [{to, value, data}]}` -> `{userOpHash, transactionHash, success}` */
  async send(request) {
    const client = publicClient(request);
    const account = await deserializeSessionKeyAccount(
      client,
      entryPoint,
      request.kernelVersion,
      request.serialized,
      request.sessionKey && privateKeyToAccount(request.sessionKey),
      request.validator,
    );
    const kernel = createKernelAccountClient({
      account,
      chain: localChain(request),
      client,
      bundlerTransport: http(request.bundler),
      userOperation: { estimateFeesPerGas: () => fees(request.bundler) },
    });
    const calls = request.calls.map(({ to, value, data }) => ({ to, value: BigInt(value ?? "0"), data }));
    const hash = await kernel.sendUserOperation({ callData: await account.encodeCalls(calls) });
    return outcome(request.bundler, hash);
  },
});
