-- Asks Behalf for the token of a request; see haproxy.cfg.
local ASKED = 'http://127.0.0.1:8082/forward-auth'
local CREDENTIALS = { 'authorization', 'dpop' }
local TOLD_TO_CALLERS = { 'content-type', 'www-authenticate', 'retry-after', 'dpop-nonce', 'allow', 'cache-control' }

local function listed(headers, name)
  local values = {}
  for _, value in pairs(headers[name] or {}) do
    table.insert(values, value)
  end
  return values
end

local function refuse(txn, status, headers, body)
  local reply = txn:reply({ status = status })
  for _, name in ipairs(TOLD_TO_CALLERS) do
    for _, value in ipairs(listed(headers, name)) do
      reply:add_header(name, value)
    end
  end
  reply:set_body(body)
  txn:done(reply)
end

core.register_action('behalf', { 'http-req' }, function(txn)
  local received = txn.http:req_get_headers()
  local told = {
    ['x-forwarded-method'] = { txn.sf:method() },
    ['x-forwarded-host'] = listed(received, 'host'),
    ['x-forwarded-uri'] = { txn.sf:url() },
  }
  for _, name in ipairs(CREDENTIALS) do
    if received[name] then
      -- All values of a header, so that Behalf sees a second one and refuses it.
      told[name] = listed(received, name)
    end
  end
  local answer = core.httpclient():get({ url = ASKED, headers = told, timeout = 10000 })
  if answer.status == 200 then
    txn.http:req_set_header('authorization', answer.headers['authorization'][0])
  elseif answer.status == 0 then
    refuse(txn, 503, {}, '')
  else
    refuse(txn, answer.status, answer.headers, answer.body or '')
  end
end)
