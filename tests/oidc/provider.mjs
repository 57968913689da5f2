// A real OpenID provider for the tests: short access tokens as JWT, keys that rotate while it
// runs, logout messages. `node provider.mjs SETTINGS`, where SETTINGS is JSON; the first line of
// its output is its issuer. It lives as long as its standard input is open.
import * as crypto from 'node:crypto';
import { createRequire } from 'node:module';
import * as http from 'node:http';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(process.argv[2]);
const require = createRequire(`${settings.modules}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const API = 'urn:mail';
const keys = [];
const counted = {};
let provider;
let handle;
let number = 0;

function newKey() {
  number += 1;
  const { privateKey } = number % 2
    ? crypto.generateKeyPairSync('rsa', { modulusLength: 2048 })
    : crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const alg = number % 2 ? 'RS256' : 'ES256';
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: `key-${number}`, use: 'sig', alg });
}

function build(issuer) {
  // One kind at a time signs; both kinds stand among the public keys.
  const alg = keys[0].alg;
  const client = {
    client_secret: settings.secret,
    grant_types: ['authorization_code'],
    id_token_signed_response_alg: alg,
    userinfo_signed_response_alg: settings.signedUserinfo ? alg : undefined,
  };
  provider = new Provider(issuer, {
    clients: [
      {
        ...client,
        client_id: 'vaguemestre',
        redirect_uris: [`${settings.pages}/login/oidc/callback`],
        post_logout_redirect_uris: [`${settings.pages}/account/login?out=1`],
        backchannel_logout_uri: `${settings.pages}/login/oidc/logout`,
        backchannel_logout_session_required: true,
      },
      { ...client, client_id: 'software', redirect_uris: ['https://software.test/back'] },
    ],
    jwks: { keys },
    cookies: { keys: ['a key of the tests'] },
    scopes: ['openid', 'scope_all'],
    acrValues: ['eidas1'],
    claims: { openid: ['sub'], scope_all: ['SubjectNameID', 'family_name'], acr: null, sid: null },
    enabledJWA: {
      idTokenSigningAlgValues: ['RS256', 'ES256'],
      userinfoSigningAlgValues: ['RS256', 'ES256'],
    },
    features: {
      devInteractions: { enabled: false },
      backchannelLogout: { enabled: true },
      jwtUserinfo: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource(ctx, form) {
          ctx.body = `<!DOCTYPE html><title>Sortir</title>${form}
            <button autofocus type="submit" form="op.logoutForm" name="logout" value="yes">Oui</button>`;
        },
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx) => (ctx.oidc.client.clientId === 'software' ? API : undefined),
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'openid scope_all',
          audience: 'mail',
          accessTokenTTL: settings.seconds,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg, kid: keys[0].kid } },
        }),
      },
    },
    extraTokenClaims: (ctx, token) => ({
      typ: 'Bearer', acr: 'eidas1', SubjectNameID: token.accountId.split(':')[1],
    }),
    findAccount: (ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, SubjectNameID: id.split(':')[1], family_name: 'LUMIER' }),
    }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    // Nobody is asked for consent: the national provider does not, either.
    async loadExistingGrant(ctx) {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid scope_all');
      grant.addResourceScope(API, 'openid scope_all');
      await grant.save();
      return grant;
    },
    // The library refuses to call addresses of this machine; here there are no others.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    ttl: { AccessToken: settings.seconds, IdToken: 300, Session: 3600, Grant: 3600, Interaction: 600 },
    renderError(ctx, out, error) {
      ctx.body = `<!DOCTYPE html><title>Erreur</title><pre>${out.error} ${error?.message} ${error?.error_detail}</pre>`;
    },
  });
  handle = provider.callback();
  for (const event of ['server_error', 'backchannel.error', 'authorization.error', 'grant.error']) {
    provider.on(event, (ctx, error) => console.error(event, error));
  }
}

async function body(request) {
  let text = '';
  for await (const part of request) text += part;
  return new URLSearchParams(text);
}

async function interaction(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  let who = params.login_hint;
  if (request.method === 'POST') who = (await body(request)).get('who');
  if (!who) {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(`<!DOCTYPE html><html lang="fr"><title>Fournisseur d’essai</title><form method="post">
      <label>Identifiant national <input id="who" name="who"></label><button>Continuer</button></form>`);
    return;
  }
  const login = { accountId: `f:${who}`, acr: 'eidas1', amr: ['card'] };
  await provider.interactionFinished(request, response, { login });
}

// A practice's software gets a token for somebody: the whole code flow, as it would be there.
async function tokenFor(issuer, who) {
  const cookies = new Map();
  const verifier = crypto.randomBytes(32).toString('base64url');
  const query = new URLSearchParams({
    client_id: 'software', response_type: 'code', scope: 'openid scope_all', resource: API,
    redirect_uri: 'https://software.test/back', state: 'x', login_hint: who,
    code_challenge: crypto.createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  });
  let next = `${issuer}/auth?${query}`;
  for (let steps = 0; !next.startsWith('https://software.test/'); steps += 1) {
    if (steps > 10) throw new Error(`no end: ${next}`);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(next, { redirect: 'manual', headers: { cookie } });
    for (const set of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]*)=([^;]*)/.exec(set);
      cookies.set(name, value);
    }
    const to = answer.headers.get('location');
    if (!to) throw new Error(`${next}: ${answer.status} ${await answer.text()}`);
    next = new URL(to, next).href;
  }
  const code = new URL(next).searchParams.get('code');
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`software:${settings.secret}`).toString('base64')}` },
    body: new URLSearchParams({
      grant_type: 'authorization_code', code, code_verifier: verifier, resource: API,
      redirect_uri: 'https://software.test/back',
    }),
  });
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return (await answer.json()).access_token;
}

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://provider');
  const issuer = `http://127.0.0.1:${server.address().port}`;
  counted[url.pathname] = (counted[url.pathname] ?? 0) + 1;
  try {
    if (url.pathname.startsWith('/interaction/')) return await interaction(request, response);
    if (url.pathname === '/test/rotate') {
      newKey();
      while (keys.length > Number(url.searchParams.get('keep') ?? 2)) keys.pop();
      build(issuer);
      return response.end(keys[0].kid);
    }
    if (url.pathname === '/test/count') return response.end(String(counted[url.searchParams.get('path')] ?? 0));
    if (url.pathname === '/test/token') return response.end(await tokenFor(issuer, url.searchParams.get('who')));
    return handle(request, response);
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    return response.end(String(error?.stack));
  }
});

newKey();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  build(issuer);
  console.log(issuer);
});
// Whoever started us has gone when this ends.
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
