"""OpenFHE: the inner product of its examples, the same with many windows per ciphertext, and feature-major."""

import openfhe as fhe
from measuring import Way, main

# With OpenFHE's default sizes a value may not reach 2^(first - scaling bits), 2^10: features and weights are brought below 1.
FEATURE_UNIT, WEIGHT_UNIT = 128, 1024


def context(depth, scale_bits, first_bits, batch=None, manual=False):
    """128-bit classical security, the ring degree that OpenFHE chooses for it."""
    parameters = fhe.CCParamsCKKSRNS()
    parameters.SetMultiplicativeDepth(depth)
    parameters.SetScalingModSize(scale_bits)
    parameters.SetFirstModSize(first_bits)
    if batch is not None:
        parameters.SetBatchSize(batch)
    if manual:
        parameters.SetScalingTechnique(fhe.ScalingTechnique.FIXEDMANUAL)
    made = fhe.GenCryptoContext(parameters)
    for feature in (
        fhe.PKESchemeFeature.PKE,
        fhe.PKESchemeFeature.KEYSWITCH,
        fhe.PKESchemeFeature.LEVELEDSHE,
        fhe.PKESchemeFeature.ADVANCEDSHE,
    ):
        made.Enable(feature)
    shown = {
        "scheme": "CKKS",
        "ringDegree": made.GetRingDimension(),
        "depth": depth,
        "firstBits": first_bits,
        "scaleBits": scale_bits,
        "scaling": "FIXEDMANUAL" if manual else "default (FLEXIBLEAUTOEXT)",
        "security": "HEStd_128_classic",
        "keys": "public",
    }
    return made, shown


def inner_product_keys(made, keys):
    """Keys that EvalInnerProduct with plain weights needs: rotations only. @returns their bytes"""
    fhe.ClearEvalMultKeys()
    made.ClearEvalAutomorphismKeys()
    made.EvalSumKeyGen(keys.secretKey)
    return len(fhe.SerializeEvalAutomorphismKeyString(fhe.BINARY, ""))


def load(sent):
    return fhe.DeserializeCiphertextString(sent, fhe.BINARY)


def save(cipher):
    return fhe.Serialize(cipher, fhe.BINARY)


def decrypt(made, keys, reply, length):
    plain = made.Decrypt(load(reply), keys.secretKey)
    plain.SetLength(length)
    return [value * FEATURE_UNIT * WEIGHT_UNIT for value in plain.GetRealPackedValue()]


def tutorial(windows):
    """One vector per ciphertext and EvalInnerProduct, as in its example; depth, security and scaling as OpenFHE suggests for one product."""
    features = windows.features.shape[1]
    made, shown = context(depth=1, scale_bits=50, first_bits=60, batch=features)

    def compute(got, weights):
        return made.EvalInnerProduct(got, weights, features)

    return inner_product(windows, made, {**shown, "api": "EvalInnerProduct"}, compute, "example: one vector per sample", 1, count=4)


def packed(windows):
    """As many windows per ciphertext as it has slots for; EvalSum sums each stretch of F slots, after the rescaling, which is cheaper."""
    features = windows.features.shape[1]
    made, shown = context(depth=1, scale_bits=35, first_bits=45, manual=True)
    per_ciphertext = made.GetRingDimension() // 2 // features

    def compute(got, weights):
        return made.EvalSum(made.Rescale(made.EvalMult(got, weights)), features)

    shown = {**shown, "api": "EvalMult, Rescale, EvalSum"}
    return inner_product(windows, made, shown, compute, "packed, with rotations", per_ciphertext, count=per_ciphertext)


def inner_product(windows, made, shown, compute, name, per_ciphertext, count):
    features = windows.features.shape[1]
    keys = made.KeyGen()
    evaluation_keys = inner_product_keys(made, keys)
    weights = made.MakeCKKSPackedPlaintext((windows.weights / WEIGHT_UNIT).tolist() * per_ciphertext)
    vectors = (windows.features[:count].reshape(-1, per_ciphertext * features) / FEATURE_UNIT).tolist()
    way = Way(windows, name, shown, per_ciphertext)
    last = {}

    def read(reply):
        return decrypt(made, keys, reply, per_ciphertext * features)[::features]

    def work():
        sent = way.timed(
            "encrypt", count, lambda: [save(made.Encrypt(keys.publicKey, made.MakeCKKSPackedPlaintext(v))) for v in vectors]
        )
        got = way.timed("load", count, lambda: [load(each) for each in sent])
        results = way.timed("compute", count, lambda: [compute(each, weights) for each in got])
        replies = way.timed("save", count, lambda: [save(each) for each in results])
        scores = way.timed("decrypt", count, lambda: [read(each) for each in replies])
        last.update(up=len(sent[0]), down=len(replies[0]), scores=[score for each in scores for score in each])

    way.repeat(work)
    up, down = last["up"], last["down"]
    of32 = min(32, per_ciphertext)
    return way.done(
        up=up / per_ciphertext,
        down=down / per_ciphertext,
        up32=up / of32,
        down32=down / of32,
        public_key=len(fhe.Serialize(keys.publicKey, fhe.BINARY)),
        evaluation_keys=evaluation_keys,
        scores=last["scores"],
    )


def feature_major(windows):
    """Ciphertext f holds feature f of N/2 windows; EvalLinearWSum, which rescales once; no keys but the public one."""
    made, shown = context(depth=1, scale_bits=35, first_bits=45, manual=True)
    keys = made.KeyGen()
    count = made.GetRingDimension() // 2
    columns = (windows.features[:count].T / FEATURE_UNIT).tolist()
    weights = (windows.weights / WEIGHT_UNIT).tolist()
    way = Way(windows, "feature-major", {**shown, "api": "EvalLinearWSum"}, count)
    last = {}

    def work():
        sent = way.timed(
            "encrypt", count, lambda: [save(made.Encrypt(keys.publicKey, made.MakeCKKSPackedPlaintext(c))) for c in columns]
        )
        got = way.timed("load", count, lambda: [load(each) for each in sent])
        result = way.timed("compute", count, lambda: made.EvalLinearWSum(got, weights))
        reply = way.timed("save", count, lambda: save(result))
        scores = way.timed("decrypt", count, lambda: decrypt(made, keys, reply, count))
        last.update(up=sum(map(len, sent)), down=len(reply), scores=scores)

    way.repeat(work)
    up, down = last["up"], last["down"]
    return way.done(
        up=up / count,
        down=down / count,
        up32=up / 32,
        down32=down / 32,
        public_key=len(fhe.Serialize(keys.publicKey, fhe.BINARY)),
        evaluation_keys=0,
        scores=last["scores"],
    )


if __name__ == "__main__":
    main("OpenFHE", fhe.__version__, [tutorial, packed, feature_major])
