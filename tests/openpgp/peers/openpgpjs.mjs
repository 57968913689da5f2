// OpenPGP.js as a peer of the matrix (tests/openpgp/matrix.rs). See gpg.sh.
// The library lies in the folder that OPENPGPJS names; scripts/need puts it there.
import { readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import process from 'node:process';

const require = createRequire(`${process.env.OPENPGPJS}/`);
const openpgp = await import(require.resolve('openpgp'));
const { version } = JSON.parse(await readFile(`${process.env.OPENPGPJS}/node_modules/openpgp/package.json`, 'utf8'));

async function make(kind, folder) {
    const kinds = {
        rsa3072: { type: 'rsa', rsaBits: 3072, config: { aeadProtect: true } },
        cv25519: { type: 'ecc', curve: 'curve25519Legacy', config: { aeadProtect: true } },
        v6: { type: 'curve25519', config: { v6Keys: true, aeadProtect: true } },
    };
    const userIDs = [{ email: 'peer@example.test' }];
    const { privateKey, publicKey } = await openpgp.generateKey({ ...kinds[kind], userIDs, format: 'binary' });
    await writeFile(`${folder}/key.pgp`, privateKey);
    await writeFile(`${folder}/cert.pgp`, publicKey);
}

async function seal(folder, certificate, container, signed, compressed, source, target) {
    const key = await openpgp.readPrivateKey({ binaryKey: await readFile(`${folder}/key.pgp`) });
    const to = await openpgp.readKey({ binaryKey: await readFile(certificate) });
    if (container !== 'aead') {
        // It goes by what the certificate reads, and there is no option: one that reads less.
        const asked = to.getPrimarySelfSignature.bind(to);
        to.getPrimarySelfSignature = async (...rest) => Object.assign(await asked(...rest), { features: [1] });
    }
    const { zlib, uncompressed } = openpgp.enums.compression;
    const message = await openpgp.encrypt({
        message: await openpgp.createMessage({ binary: await readFile(source) }),
        encryptionKeys: to,
        signingKeys: signed === 'signed' ? key : undefined,
        format: 'binary',
        config: {
            preferredCompressionAlgorithm: compressed === 'compressed' ? zlib : uncompressed,
        },
    });
    await writeFile(target, message);
}

async function open(folder, signer, source, target) {
    const key = await openpgp.readPrivateKey({ binaryKey: await readFile(`${folder}/key.pgp`) });
    const { data, signatures } = await openpgp.decrypt({
        message: await openpgp.readMessage({ binaryMessage: await readFile(source) }),
        decryptionKeys: key,
        verificationKeys: signer === '-' ? undefined : await openpgp.readKey({ binaryKey: await readFile(signer) }),
        format: 'binary',
    });
    await writeFile(target, data);
    if (signatures.length === 0) return console.log('unsigned');
    const good = await Promise.all(signatures.map((one) => one.verified.then(() => true, () => false)));
    console.log(good.every(Boolean) ? 'good' : 'bad');
}

const [what, ...rest] = process.argv.slice(2);
if (what === 'version') console.log(`OpenPGP.js ${version}`);
else {
    await { make, seal, open }[what](...rest).catch((error) => {
        console.error(error.message);
        process.exit(1);
    });
}
