"""Concrete ML: LinearRegression behind its client and server classes, and the encrypted matrix product of its hybrid models."""

import tempfile
from pathlib import Path

import concrete_ml_extensions as extensions
import numpy as np
from concrete.ml.deployment import FHEModelClient, FHEModelDev, FHEModelServer
from concrete.ml.sklearn import LinearRegression
from concrete.ml.version import __version__
from measuring import Way, main

TRAINING_WINDOWS = 512


def tutorial(windows):
    """As in the guide to production deployment, with the default of 8 bits for features and weights."""
    return deployed(windows, "tutorial: one sample at a time")


def more_bits(windows):
    """The same with as many bits as our head has."""
    return deployed(windows, "one sample at a time, 11 bits", n_bits=11)


def deployed(windows, name, **options):
    features = windows.features.astype(float)
    model = LinearRegression(**options)
    model.fit(features[:TRAINING_WINDOWS], windows.scores[:TRAINING_WINDOWS].astype(float))
    model.compile(features[:TRAINING_WINDOWS])
    count = 8
    with tempfile.TemporaryDirectory() as folder:
        FHEModelDev(path_dir=str(Path(folder, "model")), model=model).save()
        client = FHEModelClient(path_dir=str(Path(folder, "model")), key_dir=str(Path(folder, "keys")))
        keys = client.get_serialized_evaluation_keys()
        server = FHEModelServer(path_dir=str(Path(folder, "model")))
        server.load()
        refused = batch_refusal(client, server, features[:32], keys)
        parameters = {
            "scheme": "TFHE (LWE)",
            "nBits": model.n_bits,
            "api": "FHEModelClient, FHEModelServer",
            "pError": model.fhe_circuit.p_error,
            "severalAtOnce": refused,
        }
        way = Way(windows, name, parameters, 1)
        last = {}

        def work():
            sent = way.timed("encrypt", count, lambda: [client.quantize_encrypt_serialize(row[None, :]) for row in features[:count]])
            # Loading and saving happen within `run`.
            replies = way.timed("load, compute, save", count, lambda: [server.run(each, keys) for each in sent])
            results = way.timed("decrypt", count, lambda: [client.deserialize_decrypt_dequantize(each) for each in replies])
            scores = [float(np.ravel(each)[0]) for each in results]
            last.update(up=sum(map(len, sent)) / count, down=sum(map(len, replies)) / count, scores=scores)

        way.repeat(work)
    up, down = last["up"], last["down"]
    return way.done(up=up, down=down, up32=up, down32=down, public_key=0, evaluation_keys=len(keys), scores=last["scores"])


def batch_refusal(client, server, rows, keys):
    """Whether the server takes several samples at once; what it says if not."""
    try:
        server.run(client.quantize_encrypt_serialize(rows), keys)
        return "taken"
    except Exception as error:
        return f"refused: {error}"[:200]


def matrix(windows):
    """32 windows as one encrypted matrix times the plain weights: how hybrid models compute linear layers."""
    count = 32
    parameters = extensions.MatmulCryptoParameters.deserialize(extensions.default_params())
    private_key, compression_key = extensions.create_private_key(parameters)
    features = np.ascontiguousarray(windows.features[:count].astype(np.uint64))
    weights = windows.weights[:, None].astype(np.uint64)
    shown = {"scheme": "TFHE (GLWE)", "api": "concrete_ml_extensions.matrix_multiplication", "parameters": extensions.default_params()}
    shown["parameters"] = " ".join(shown["parameters"].split())
    way = Way(windows, "encrypted matrix (hybrid models)", shown, count)
    last = {}

    def decrypt(reply):
        loaded = extensions.CompressedResultEncryptedMatrix.deserialize(reply)
        valid = weights.shape[1]
        result = extensions.decrypt_matrix(loaded, private_key, parameters, num_valid_glwe_values_in_last_ciphertext=valid)
        return np.ravel(result).astype(np.int64)

    def work():
        sent = way.timed("encrypt", count, lambda: extensions.encrypt_matrix(private_key, parameters, features).serialize())
        got = way.timed("load", count, lambda: extensions.EncryptedMatrix.deserialize(sent))
        result = way.timed("compute", count, lambda: extensions.matrix_multiplication(got, weights, compression_key))
        reply = way.timed("save", count, lambda: result.serialize())
        last.update(up=len(sent) / count, down=len(reply) / count, scores=way.timed("decrypt", count, lambda: decrypt(reply)))

    way.repeat(work)
    up, down = last["up"], last["down"]
    keys = len(compression_key.serialize())
    return way.done(up=up, down=down, up32=up, down32=down, public_key=0, evaluation_keys=keys, scores=last["scores"])


if __name__ == "__main__":
    main("Concrete ML", __version__, [tutorial, more_bits, matrix])
