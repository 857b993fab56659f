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
---What a PEM certificate says. Raises kind data.
---@param pem string
---@return { fingerprint: string, subject: string, issuer: string, not_after: number, dns: string[], ip: string[] } fingerprint: SHA-256 of the DER, hex
function crypto.certificate(pem) end
return crypto
