"""Who asks, and what they may use: independent of HTTP and of the bus.

- `callers`         `Callers`: an authorization header → whom it is of, by a key or by a token
- `authentication`  `authenticate` a key; the rule for `anonymous_caller`
- `principals`      a `Principal` and its rights; `ANONYMOUS`, `BUS`
- `ring`            `KeyRing`: the keys in force, kept up with the file
- `tokens`          `AccessTokens`: JSON Web Tokens of a trusted issuer, and what their scopes let them use
- `issuer`          `Issuer`: its public keys, read in the background
- `issuer_key`      one of them
- `jwks`            asks for them over HTTP; imported only where there is an issuer
- `oauth_settings`  whose tokens count, and for what
- `keys`            the keys file: `add_key`, `list_keys`, `revoke_key`
"""
