---@meta pgafrun.crypto
-- OpenSSL's libcrypto.
local crypto = {}
---@param data string
---@return string hex
function crypto.sha256(data) end
---n random bytes from the system, as lower-case hex (2n characters).
---@param n integer
---@return string
function crypto.random_hex(n) end
---@param data string
---@return string
function crypto.base64_encode(data) end
---Raises kind data.
---@param text string
---@return string
function crypto.base64_decode(text) end
---Whether two texts are the same, in a time that does not tell where they differ.
---@param a string
---@param b string
---@return boolean
function crypto.equal(a, b) end
---@param key string
---@param data string
---@return string digest 32 bytes, not hex
function crypto.hmac_sha256(key, data) end
---Computed at once: 10000 iterations take some 5 ms, in which nothing else goes on.
---@param password string
---@param salt string
---@param iterations integer 1 to 1000000
---@param size integer of the result, 1 to 1024 bytes
---@return string derived bytes, not hex
function crypto.pbkdf2_sha256(password, salt, iterations, size) end
---Encrypts and decrypts (the same thing in this mode). It does not tell whether the key was right: check a MAC first.
---@param key string 32 bytes
---@param counter string 16 bytes, the first counter block
---@param data string
---@return string
function crypto.aes256_ctr(key, counter, data) end
---What a PEM certificate says. Raises kind data.
---@param pem string
---@return { fingerprint: string, subject: string, issuer: string, not_after: number, dns: string[], ip: string[] } fingerprint: SHA-256 of the DER, hex
function crypto.certificate(pem) end
return crypto
