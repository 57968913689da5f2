"""PGPy as a peer of the matrix (tests/openpgp/matrix.rs). See gpg.sh."""
import sys
import warnings

warnings.simplefilter("ignore")

import pgpy  # noqa: E402
from pgpy.constants import (  # noqa: E402
    CompressionAlgorithm, EllipticCurveOID, HashAlgorithm, KeyFlags, PubKeyAlgorithm, SymmetricKeyAlgorithm)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, octets):
    with open(path, "wb") as file:
        file.write(octets)


def make(kind, folder):
    kinds = {
        "rsa3072": ((PubKeyAlgorithm.RSAEncryptOrSign, 3072), (PubKeyAlgorithm.RSAEncryptOrSign, 3072)),
        "cv25519": ((PubKeyAlgorithm.EdDSA, EllipticCurveOID.Ed25519),
                    (PubKeyAlgorithm.ECDH, EllipticCurveOID.Curve25519)),
    }
    if kind not in kinds:
        sys.exit("PGPy makes no keys of version 6")
    primary, subkey = kinds[kind]
    key = pgpy.PGPKey.new(*primary)
    key.add_uid(pgpy.PGPUID.new("peer", email="peer@example.test"), usage={KeyFlags.Sign, KeyFlags.Certify},
                hashes=[HashAlgorithm.SHA512], ciphers=[SymmetricKeyAlgorithm.AES256],
                compression=[CompressionAlgorithm.ZLIB])
    key.add_subkey(pgpy.PGPKey.new(*subkey),
                   usage={KeyFlags.EncryptCommunications, KeyFlags.EncryptStorage})
    write(f"{folder}/key.pgp", bytes(key))
    write(f"{folder}/cert.pgp", bytes(key.pubkey))


def seal(folder, certificate, container, signed, compressed, source, target):
    if container == "aead":
        sys.exit("PGPy writes no AEAD")
    key, _ = pgpy.PGPKey.from_blob(read(f"{folder}/key.pgp"))
    to, _ = pgpy.PGPKey.from_blob(read(certificate))
    algorithm = CompressionAlgorithm.ZLIB if compressed == "compressed" else CompressionAlgorithm.Uncompressed
    message = pgpy.PGPMessage.new(read(source), compression=algorithm, format="b")
    if signed == "signed":
        message |= key.sign(message, hash=HashAlgorithm.SHA512)
    write(target, bytes(to.encrypt(message, cipher=SymmetricKeyAlgorithm.AES256)))


def open_(folder, signer, source, target):
    key, _ = pgpy.PGPKey.from_blob(read(f"{folder}/key.pgp"))
    message = key.decrypt(pgpy.PGPMessage.from_blob(read(source)))
    clear = message.message
    write(target, clear if isinstance(clear, (bytes, bytearray)) else clear.encode())
    if signer == "-":
        print("unsigned")
    else:
        certificate, _ = pgpy.PGPKey.from_blob(read(signer))
        print("good" if certificate.verify(message) else "bad")


if sys.argv[1] == "version":
    from importlib.metadata import version
    print("PGPy", version("PGPy"))
else:
    {"make": make, "seal": seal, "open": open_}[sys.argv[1]](*sys.argv[2:])
