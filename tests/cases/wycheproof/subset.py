"""Writes the vectors beside this file from a checkout of https://github.com/C2SP/wycheproof: subset.py CHECKOUT.

Kept are keys, messages, signatures and results; of the raw signatures all that are not valid, and the first three valid ones of each key.
Of PKCS #1 v1.5, whose many wrong paddings are in jws.json already, no more than every eighth invalid one.
"""

import base64
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
RAW = {
    "rs256": "rsa_signature_2048_sha256",
    "rs384": "rsa_signature_2048_sha384",
    "rs512": "rsa_signature_2048_sha512",
    "ps256": "rsa_pss_2048_sha256_mgf1_32",
    "ps384": "rsa_pss_2048_sha384_mgf1_48",
    "es256": "ecdsa_secp256r1_sha256_p1363",
    "es384": "ecdsa_secp384r1_sha384_p1363",
    "eddsa": "ed25519",
}


def groups(checkout, name):
    return json.loads((pathlib.Path(checkout) / f"testvectors_v1/{name}_test.json").read_text())["testGroups"]


def tokens(group):
    # Symmetric keys have no public half; a set of keys is one already.
    key = group.get("public", group["private"])
    tests = [{"id": t["tcId"], "comment": t["comment"], "jws": t["jws"], "result": t["result"]} for t in group["tests"]]
    return {"comment": group["comment"], "jwks": key if "keys" in key else {"keys": [key]}, "tests": tests}


def jwk(group):
    if "publicKeyJwk" in group:
        return group["publicKeyJwk"]
    key = group["publicKey"]
    base64url = lambda digits: base64.urlsafe_b64encode(bytes.fromhex(digits)).decode().rstrip("=")
    if key.get("type") == "EcPublicKey":
        x, y = (key["uncompressed"][2:][at : at + key["keySize"] // 4] for at in (0, key["keySize"] // 4))
        return {"kty": "EC", "crv": f"P-{key['keySize']}", "x": base64url(x), "y": base64url(y)}
    return {"kty": "RSA", "n": base64url(key["modulus"].removeprefix("00")), "e": base64url(key["publicExponent"])}


def signatures(group):
    step = 8 if group["type"] == "RsassaPkcs1Verify" else 1
    invalid = [t["tcId"] for t in group["tests"] if t["result"] == "invalid"][::step]
    valid = [t["tcId"] for t in group["tests"] if t["result"] == "valid"][:3]
    tests = [
        {"id": t["tcId"], "comment": t["comment"], "msg": t["msg"], "sig": t["sig"], "result": t["result"]}
        for t in group["tests"]
        if t["result"] == "acceptable" or t["tcId"] in valid + invalid
    ]
    return {"jwk": jwk(group), "tests": tests}


def write(name, groups):
    lines = ",\n".join(json.dumps(group, separators=(",", ":"), ensure_ascii=False) for group in groups)
    (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def main(checkout):
    for name, source in {"jws": "json_web_signature", "jwk": "json_web_key"}.items():
        write(name, [tokens(group) for group in groups(checkout, source)])
    for name, source in RAW.items():
        write(name, [signatures(group) for group in groups(checkout, source)])


main(*sys.argv[1:])
