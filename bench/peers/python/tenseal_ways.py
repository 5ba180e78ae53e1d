"""TenSEAL: as its tutorial does encrypted logistic regression, and at the best batching that was found."""

import os
import tempfile

import tenseal as ts
from measuring import Way, main
from tenseal import sealapi

TUTORIAL = {"n": 8192, "primes": [60, 40, 40, 60], "scale": 40}
# One data prime is enough for a product and a sum; at 60 bits compression finds nothing to do, which makes loading fast.
FASTEST = {"n": 8192, "primes": [60, 60], "scale": 27}
# Features and weights are brought below 1 for the small scale: 127 and 1023 to the next powers of two.
FEATURE_UNIT, WEIGHT_UNIT = 128, 1024


def context(parameters, symmetric=False, galois=False):
    mode = ts.ENCRYPTION_TYPE.SYMMETRIC if symmetric else ts.ENCRYPTION_TYPE.ASYMMETRIC
    made = ts.context(
        ts.SCHEME_TYPE.CKKS, parameters["n"], coeff_mod_bit_sizes=parameters["primes"], n_threads=1, encryption_type=mode
    )
    made.global_scale = 2.0 ** parameters["scale"]
    if galois:
        made.generate_galois_keys()
    return made


def key_bytes(made):
    """Bytes of what the service gets: the public key (with the parameters), and all other keys on top."""
    bare = len(made.serialize(save_public_key=True, save_secret_key=False, save_galois_keys=False, save_relin_keys=False))
    full = len(made.serialize(save_public_key=True, save_secret_key=False, save_galois_keys=True, save_relin_keys=False))
    return {"public_key": bare, "evaluation_keys": full - bare}


def describe(parameters, **more):
    return {"scheme": "CKKS", "ringDegree": parameters["n"], "primeBits": parameters["primes"], "scaleBits": parameters["scale"], **more}


def tutorial(windows):
    """One vector per ciphertext and `dot` with the plain weights, as in tutorial 1."""
    made = context(TUTORIAL, galois=True)
    weights = windows.weights.tolist()
    count = 8
    way = Way(windows, "tutorial: one vector per sample", describe(TUTORIAL, api="ckks_vector.dot", keys="public"), 1)
    last = {}

    def work():
        rows = windows.features[:count].tolist()
        sent = way.timed("encrypt", count, lambda: [ts.ckks_vector(made, row).serialize() for row in rows])
        got = way.timed("load", count, lambda: [ts.ckks_vector_from(made, each) for each in sent])
        results = way.timed("compute", count, lambda: [each.dot(weights) for each in got])
        replies = way.timed("save", count, lambda: [each.serialize() for each in results])
        scores = way.timed("decrypt", count, lambda: [ts.ckks_vector_from(made, each).decrypt()[0] for each in replies])
        last.update(up=sum(map(len, sent)) / count, down=sum(map(len, replies)) / count, scores=scores)

    way.repeat(work)
    up, down = last["up"], last["down"]
    return way.done(up=up, down=down, up32=up, down32=down, scores=last["scores"], **key_bytes(made))


def packed(windows):
    """As many windows per ciphertext as slots allow, one product and log2(F) rotations. TenSEAL's own vectors cannot; SEAL's API can."""
    made = context(TUTORIAL, galois=True)
    features = windows.features.shape[1]
    count = TUTORIAL["n"] // 2 // features
    seal = made.seal_context().data
    evaluator, encoder = sealapi.Evaluator(seal), sealapi.CKKSEncoder(seal)
    weights = sealapi.Plaintext()
    encoder.encode([float(w) for w in windows.weights.tolist() * count], 2.0 ** TUTORIAL["scale"], weights)
    galois = made.galois_keys().data
    vector = windows.features[:count].ravel().tolist()
    way = Way(windows, "packed, with rotations", describe(TUTORIAL, api="sealapi rotate_vector", keys="public"), count)
    last = {}

    def compute(sent):
        result = sealapi.Ciphertext()
        evaluator.multiply_plain(sent.ciphertext()[0], weights, result)
        evaluator.rescale_to_next_inplace(result)
        step = features // 2
        while step >= 1:
            turned = sealapi.Ciphertext()
            evaluator.rotate_vector(result, step, galois, turned)
            evaluator.add_inplace(result, turned)
            step //= 2
        return result

    def work():
        sent = way.timed("encrypt", count, lambda: ts.ckks_vector(made, vector).serialize())
        got = way.timed("load", count, lambda: ts.ckks_vector_from(made, sent))
        result = way.timed("compute", count, lambda: compute(got))
        reply = way.timed("save", count, lambda: saved(result))
        scores = way.timed("decrypt", count, lambda: decrypted(made, seal, encoder, reply))
        last.update(up=len(sent), down=len(reply), scores=scores[: count * features : features])

    way.repeat(work)
    up, down = last["up"], last["down"]
    return way.done(
        up=up / count, down=down / count, up32=up / 32, down32=down / 32, scores=last["scores"], **key_bytes(made)
    )


def batched_tutorial_parameters(windows):
    """Feature-major, with the tutorial's parameters: ciphertext f holds feature f of N/2 windows."""
    return feature_major(windows, TUTORIAL, symmetric=False, name="feature-major, tutorial's parameters")


def batched_fastest(windows):
    """Feature-major, with the parameters and the key mode that were found to take the service the least time."""
    return feature_major(windows, FASTEST, symmetric=True, name="feature-major, fastest parameters")


def feature_major(windows, parameters, symmetric, name):
    made = context(parameters, symmetric)
    made.auto_rescale = made.auto_mod_switch = made.auto_relin = False
    count = parameters["n"] // 2
    columns = (windows.features[:count].T / FEATURE_UNIT).tolist()
    weights = (windows.weights / WEIGHT_UNIT).tolist()
    way = Way(windows, name, describe(parameters, api="ckks_vector * number", keys="symmetric" if symmetric else "public"), count)
    last = {}

    def compute(got):
        result = got[0] * weights[0]
        for each, weight in zip(got[1:], weights[1:]):
            result += each * weight
        return result

    def work():
        sent = way.timed("encrypt", count, lambda: [ts.ckks_vector(made, column).serialize() for column in columns])
        got = way.timed("load", count, lambda: [ts.ckks_vector_from(made, each) for each in sent])
        result = way.timed("compute", count, lambda: compute(got))
        reply = way.timed("save", count, lambda: result.serialize())
        scores = way.timed("decrypt", count, lambda: ts.ckks_vector_from(made, reply).decrypt())
        last.update(up=sum(map(len, sent)), down=len(reply), scores=[score * FEATURE_UNIT * WEIGHT_UNIT for score in scores])

    way.repeat(work)
    up, down = last["up"], last["down"]
    # A ciphertext has its length however few windows are in it.
    return way.done(up=up / count, down=down / count, up32=up / 32, down32=down / 32, scores=last["scores"], **key_bytes(made))


def batched_seeded(windows):
    """Feature-major with seeded ciphertexts, which only SEAL's API can send: half the bytes, slower to load."""
    parameters = FASTEST
    made = context(parameters, symmetric=True)
    seal = made.seal_context().data
    count = parameters["n"] // 2
    scale = 2.0 ** parameters["scale"]
    evaluator, encoder = sealapi.Evaluator(seal), sealapi.CKKSEncoder(seal)
    encryptor = sealapi.Encryptor(seal, made.secret_key().data)
    columns = (windows.features[:count].T / FEATURE_UNIT).tolist()
    weights = []
    for weight in windows.weights:
        plain = sealapi.Plaintext()
        encoder.encode(float(weight) / WEIGHT_UNIT, scale, plain)
        weights.append(plain)
    way = Way(
        windows, "feature-major, seeded", describe(parameters, api="sealapi encrypt_symmetric", keys="symmetric, seeded"), count
    )
    last = {}

    def encrypt(column, path):
        plain = sealapi.Plaintext()
        encoder.encode(column, scale, plain)
        encryptor.encrypt_symmetric(plain).save(path)

    def load(path):
        cipher = sealapi.Ciphertext()
        cipher.load(seal, path)
        return cipher

    def compute(got):
        result, product = sealapi.Ciphertext(), sealapi.Ciphertext()
        evaluator.multiply_plain(got[0], weights[0], result)
        for each, weight in zip(got[1:], weights[1:]):
            evaluator.multiply_plain(each, weight, product)
            evaluator.add_inplace(result, product)
        return result

    def work():
        # SEAL's API saves to files only: in memory, where the machine has such a folder.
        with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
            paths = [os.path.join(folder, str(f)) for f in range(len(columns))]
            way.timed("encrypt", count, lambda: [encrypt(column, path) for column, path in zip(columns, paths)])
            up = sum(map(os.path.getsize, paths))
            got = way.timed("load", count, lambda: [load(path) for path in paths])
        result = way.timed("compute", count, lambda: compute(got))
        reply = way.timed("save", count, lambda: saved(result))
        scores = way.timed("decrypt", count, lambda: decrypted(made, seal, encoder, reply))
        last.update(up=up, down=len(reply), scores=[score * FEATURE_UNIT * WEIGHT_UNIT for score in scores])

    way.repeat(work)
    up, down = last["up"], last["down"]
    return way.done(up=up / count, down=down / count, up32=up / 32, down32=down / 32, scores=last["scores"], **key_bytes(made))


def memory_folder():
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def saved(cipher):
    with tempfile.NamedTemporaryFile(dir=memory_folder()) as file:
        cipher.save(file.name)
        return file.read()


def decrypted(made, seal, encoder, reply):
    cipher, plain = sealapi.Ciphertext(), sealapi.Plaintext()
    with tempfile.NamedTemporaryFile(dir=memory_folder()) as file:
        file.write(reply)
        file.flush()
        cipher.load(seal, file.name)
    sealapi.Decryptor(seal, made.secret_key().data).decrypt(cipher, plain)
    return encoder.decode_double(plain)


if __name__ == "__main__":
    main("TenSEAL", ts.__version__, [tutorial, packed, batched_tutorial_parameters, batched_fastest, batched_seeded])
