// Plays calls.json with Alibaba Cloud's Node client, which signs as V1 SDKs do. The
// world is told by ESLINK_WORLD (see sdks_test.go), the client's place by
// ESLINK_NODE_MODULES.
'use strict'
const fs = require('fs')
const path = require('path')
const { RPCClient, ROAClient } = require(path.join(process.env.ESLINK_NODE_MODULES, '@alicloud/pop-core'))

const world = JSON.parse(process.env.ESLINK_WORLD)
const vars = {
  region: world.Region, vpc: world.VPC, zone1: world.Zones[0], zone2: world.Zones[1], vswitch1: world.VSwitches[0], vswitch2: world.VSwitches[1],
  address: world.SourceAddress, dest: world.Dest, keys: world.Keystore
}
const options = (product, apiVersion) => ({
  accessKeyId: world.Key, accessKeySecret: world.Secret, endpoint: 'http://' + world.Endpoints[product], apiVersion, opts: { timeout: 20000 }
})
const rpc = { nlb: new RPCClient(options('nlb', '2022-04-30')), privatelink: new RPCClient(options('privatelink', '2020-04-15')) }
const roa = new ROAClient(options('elasticsearch', '2017-06-13'))
const busy = /Busy|Processing|[Cc]onfiguring|IncorrectStatus|Conflict$|Concurrent|OperationDenied$|StatusNotSupport|Locked/

function fill (value) {
  if (typeof value === 'string') return value.replace(/\{(\w+)\}/g, (all, name) => vars[name] || all)
  if (Array.isArray(value)) return value.map(fill)
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, fill(v)]))
  return value
}

const at = (reply, place) => place.split('.').reduce((v, k) => v === undefined || v === null ? undefined : v[k], reply)

// The client numbers lists; a structure is dotted by hand.
function dotted (fields, prefix = '') {
  return Object.entries(fields).reduce((out, [k, v]) => Object.assign(out,
    v && typeof v === 'object' && !Array.isArray(v) ? dotted(v, prefix + k + '.') : { [prefix + k]: v }), {})
}

function send (call) {
  if (call.product !== 'elasticsearch') return rpc[call.product].request(call.operation, dotted(fill(call.fields)), { method: 'POST' })
  const body = call.body === undefined ? '' : typeof call.body === 'string' ? fill(call.body) : JSON.stringify(fill(call.body))
  return roa.request(call.method, fill(call.uri), fill(call.query), body, { 'content-type': 'application/json' }, { timeout: 20000 })
}

async function play (call) {
  for (const end = Date.now() + 60000; ; await new Promise(resolve => setTimeout(resolve, 100))) {
    let reply
    try {
      reply = await send(call)
    } catch (e) {
      if (busy.test(e.code || '') && Date.now() < end) continue
      throw e
    }
    const missing = Object.entries(call.until || {}).find(([place, want]) => String(at(reply, place)) !== fill(want))
    if (missing && Date.now() < end) continue
    if (missing) throw new Error(`never: ${missing} in ${JSON.stringify(reply)}`)
    for (const [name, place] of Object.entries(call.keep || {})) vars[name] = at(reply, place)
    return
  }
}

async function main () {
  for (const call of JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'calls.json'), 'utf8'))) {
    try {
      await play(call)
    } catch (e) {
      throw new Error(`${call.product} ${call.operation}: ${e.message || e}`)
    }
  }
}

main().catch(e => { console.error(e.stack || e); process.exit(1) })
