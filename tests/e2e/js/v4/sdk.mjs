// @zerodev/sdk 4.7.8: makes approvals and uses them. The providers are built with their constructors, because their `init`
// asks ZeroDev's backend which chain a project is on.
import { LocalAccountSigner } from "@alchemy/aa-core";
import {
  ECDSAProvider,
  EmptyAccountSigner,
  SessionKeyProvider,
  constants,
  getPermissionFromABI,
} from "@zerodev/sdk";
import { defineChain } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { fees, outcome, permission, serve } from "../io.mjs";

const projectId = "00000000-0000-0000-0000-000000000000";

function opts({ node, bundler, chainId }) {
  const chain = defineChain({
    id: chainId,
    name: "local",
    network: "local",
    nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [node] }, public: { http: [node] } },
  });
  return {
    providerConfig: { chain, rpcUrl: node, bundlerRpcUrl: bundler },
    validatorConfig: { chain, rpcUrl: node },
  };
}

const common = { projectId, bundlerProvider: "PIMLICO", usePaymaster: false };

function localSigner(key) {
  return LocalAccountSigner.privateKeyToAccountSigner(key);
}

function ownerProvider(request) {
  const o = opts(request);
  return new ECDSAProvider({
    ...common,
    owner: localSigner(request.ownerKey),
    opts: { ...o, accountConfig: { index: BigInt(request.index ?? 0) } },
  });
}

function fromWire(wire) {
  const p = permission(wire);
  return p.abi ? { ...getPermissionFromABI(p), ...(p.executionRule && { executionRule: p.executionRule }) } : p;
}

// A wallet elsewhere: viem signs what it is given, and knows nothing of keyleash or Kernel.
const wallet = {
  /** `{key, typedData}` -> the signature of `eth_signTypedData_v4` */
  async signTypedData({ key, typedData }) {
    return privateKeyToAccount(key).signTypedData(typedData);
  },

  /** `{key, message}`, the message as hex -> the signature of `personal_sign` */
  async signMessage({ key, message }) {
    return privateKeyToAccount(key).signMessage({ message: { raw: message } });
  },
};

await serve({
  ...wallet,

  /** `{ownerKey, index?, sessionKey | sessionAddress, sessionKeyData}` -> `{serialized, account}` */
  async approve(request) {
    const o = opts(request);
    const { sessionKeyData: data } = request;
    const provider = new SessionKeyProvider({
      ...common,
      defaultProvider: ownerProvider(request),
      sessionKey: request.sessionKey ? localSigner(request.sessionKey) : new EmptyAccountSigner(request.sessionAddress),
      sessionKeyData: { ...data, permissions: data.permissions.map(fromWire) },
      opts: {
        ...o,
        validatorConfig: { ...o.validatorConfig, validatorAddress: constants.SESSION_KEY_VALIDATOR_ADDRESS },
      },
    });
    return {
      serialized: await provider.serializeSessionKeyParams(request.sessionKey),
      account: await provider.getAddress(),
    };
  },

  /** `{serialized, sessionKey?, calls: [{to, value, data}], batch?}` -> `{userOpHash, transactionHash, success}` */
  async send(request) {
    const o = opts(request);
    const params = SessionKeyProvider.deserializeSessionKeyParams(request.serialized);
    // What SessionKeyProvider.fromSessionKeyParams does, less the question to the backend.
    const provider = new SessionKeyProvider({
      ...common,
      sessionKey: localSigner(request.sessionKey ?? params.sessionPrivateKey),
      sessionKeyData: params.sessionKeyData,
      opts: {
        ...o,
        accountConfig: { accountAddress: params.accountAddress, initCode: params.initCode },
        validatorConfig: {
          ...o.validatorConfig,
          validatorAddress: constants.SESSION_KEY_VALIDATOR_ADDRESS,
          executor: params.executor,
          selector: params.selector,
          enableSignature: params.enableSignature,
        },
      },
    });
    const calls = request.calls.map(({ to, value, data }) => ({ target: to, value: BigInt(value ?? "0"), data }));
    const { hash } = await provider.sendUserOperation(request.batch ? calls : calls[0], await fees(request.bundler));
    return outcome(request.bundler, hash);
  },
});
