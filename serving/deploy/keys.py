"""Scripts that make keys, certificates and tokens, which must never be in a bundle. They need bash and openssl.

Sources: RFC 7515 and 7517 for the token and the key set; tensorflow_serving/config/ssl_config.proto, whose fields hold
PEM texts, not paths.
"""

from serving.deploy import envoy
from serving.deploy.spec import BundleSpec

LAPTOP, SSL_CONFIG = "keys/laptop.sh", "keys/ssl_config.sh"
FILES = ("tls.crt", "tls.key", "jwks.json")  # what Envoy reads
DAYS = 30


def files(spec: BundleSpec) -> dict[str, str]:
    """The two scripts by their paths."""
    return {LAPTOP: _laptop(spec), SSL_CONFIG: _ssl_config()}


def _laptop(spec):
    return f"""\
#!/usr/bin/env bash
# For trying the bundle out on one machine, for {DAYS} days: a certificate for localhost, a key that signs tokens, and a token.
#
#   keys/laptop.sh FOLDER
#
# In production tls.crt and tls.key come from your certificate authority, and jwks.json from who issues your tokens.
set -euo pipefail
umask 077
folder=${{1:?"usage: keys/laptop.sh FOLDER"}}
mkdir -p "$folder"
cd "$folder"
if [ -e tls.key ]; then echo "$folder has a tls.key already; nothing is overwritten" >&2; exit 1; fi

base64url() {{ openssl base64 -A | tr '+/' '-_' | tr -d '='; }}

openssl req -x509 -newkey rsa:2048 -nodes -days {DAYS} -subj /CN=localhost \\
  -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout tls.key -out tls.crt 2>/dev/null
openssl genrsa -out issuer.key 2048 2>/dev/null

modulus=$(openssl rsa -in issuer.key -noout -modulus)
modulus=$(printf "$(sed 's/../\\\\x&/g' <<<"${{modulus#*=}}")" | base64url)
printf '{{"keys": [{{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "laptop", "n": "%s", "e": "AQAB"}}]}}\\n' "$modulus" >jwks.json

head=$(printf '{{"alg":"RS256","typ":"JWT","kid":"laptop"}}' | base64url)
body=$(printf '{{"sub":"laptop","aud":"{envoy.AUDIENCE}","exp":%d}}' $(($(date +%s) + {DAYS} * 86400)) | base64url)
signature=$(printf '%s.%s' "$head" "$body" | openssl dgst -sha256 -sign issuer.key | base64url)
echo "$head.$body.$signature" >token

# The containers run as {spec.user}, who has to read them.
if [ "$(id -u)" -eq 0 ]; then chown {spec.user} {" ".join(FILES)}; fi
"""


def _ssl_config():
    return """\
#!/usr/bin/env bash
# The SSLConfig of tensorflow_model_server from PEM files, for a server that callers reach without Envoy:
#
#   keys/ssl_config.sh KEY CERTIFICATE [CLIENT_CA] >ssl.config       (add --ssl_config_file=.../ssl.config)
#
# With CLIENT_CA callers have to show a certificate that it has signed. The text has the private key in it: keep it as
# you keep the key. It is for gRPC; REST has no TLS in TensorFlow Serving, so leave --rest_api_port out.
set -euo pipefail
if [ $# -lt 2 ]; then echo "usage: keys/ssl_config.sh KEY CERTIFICATE [CLIENT_CA]" >&2; exit 2; fi

field() { printf '%s: "' "$1"; awk '{ sub(/\\r$/, ""); printf "%s\\\\n", $0 }' "$2"; printf '"\\n'; }

field server_key "$1"
field server_cert "$2"
if [ $# -gt 2 ]; then
  field custom_ca "$3"
  echo 'client_verify: true'
else
  echo 'client_verify: false'
fi
"""
