import type { Params } from "@smile/he/params";
import { SealLayout } from "@smile/he/seal-layout";
import { openSeal } from "@smile/he/seal-module";
import type { CiphertextResidues } from "@smile/he/wire";
import { type Case, difference, type Samples } from "../harness/sampling.ts";

/** SEAL's transform of a product out of NTT form by itself, which the evaluator does together with the multiplication. */
export type InverseNtt = Disposable & {
  readonly cases: readonly Case[];
  samples(of: (name: string) => Samples): Samples;
};

/** @param product any ciphertext of two polynomials: residues are residues */
export async function openInverseNtt(params: Params, product: CiphertextResidues): Promise<InverseNtt> {
  using opened = new DisposableStack();
  const session = opened.use(await openSeal(params));
  const layout = opened.use(new SealLayout(session));
  const evaluator = opened.use(new session.seal.Evaluator(session.context));
  const cipher = opened.use(new session.seal.Ciphertext());
  const load = () => layout.loadFull(product, true, cipher);
  const owned = opened.move();
  return {
    cases: [
      { name: "load a product", run: load },
      {
        name: "load a product, inverse NTT",
        run() {
          load();
          evaluator.cipherTransformFromNttInplace(cipher);
        },
      },
    ],
    samples: (of) => difference(of("load a product, inverse NTT"), of("load a product")),
    [Symbol.dispose]: () => owned.dispose(),
  };
}
