import { join } from "node:path";

/** Where things are in a plant's folder. */
export function plantPaths(folder: string) {
  return {
    folder,
    /** Private: gateways, machines, leases, serial. */
    plant: join(folder, "plant.json"),
    /** Sealed: the plant's identity, the key of its authority. */
    secrets: join(folder, "secrets.json"),
    /** Sealed: HE keys. */
    keystore: join(folder, "keystore.json"),
    /** Public: for the service. */
    register: join(folder, "register.json"),
    service: join(folder, "service.json"),
    deployment: join(folder, "deployment.json"),
    audit: join(folder, "audit.db"),
    console: join(folder, "console"),
    gateways: join(folder, "gateways"),
    gateway: (name: string) => join(folder, "gateways", name),
  };
}

/** Where a gateway's or the console's credentials are, in its folder or in `next/` of it while they wait to be activated. */
export function credentialPaths(folder: string) {
  return {
    folder,
    signingKey: join(folder, "signing-key.json"),
    certificate: join(folder, "certificate.pem"),
    key: join(folder, "key.pem"),
    request: join(folder, "request.pem"),
  };
}

export const nextFolder = (folder: string) => join(folder, "next");
