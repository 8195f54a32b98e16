// Operations in JavaScript, in double, as a program that `minibert check` asks (reference/INTERPRETING.md).
//
//     minibert check ops/layer_norm --program "node ops_in_javascript.js"
"use strict"
const fs = require("fs"), path = require("path"), readline = require("readline")

// ---- what is checked: yours. Each function takes the case's inputs by name, {shape, data}, and its config
const rows = (x, f) => { // f on each row of the last axis
    const width = x.shape[x.shape.length - 1], data = []
    for (let i = 0; i < x.data.length; i += width) data.push(...f(x.data.slice(i, i + width)))
    return { shape: x.shape, data }
}
const sum = a => a.reduce((s, v) => s + v, 0)
const OPS = {
    layer_norm: ({ x, weight, bias }, { eps }) => rows(x, row => {
        const mean = sum(row) / row.length, variance = sum(row.map(v => (v - mean) ** 2)) / row.length
        return row.map((v, i) => weight.data[i] * (v - mean) / Math.sqrt(variance + eps) + bias.data[i])
    }),
    softmax: ({ x }) => rows(x, row => {
        const top = Math.max(...row), powers = row.map(v => Math.exp(v - top)), total = sum(powers)
        return powers.map(v => v / total)
    }),
}

// ---- safetensors: 8 bytes N (little-endian), N bytes of JSON that say where each tensor lies, then the tensors
const VIEWS = { F64: Float64Array, F32: Float32Array, I64: BigInt64Array }
function read(file) {
    const bytes = fs.readFileSync(file), start = 8 + Number(bytes.readBigUInt64LE())
    const header = JSON.parse(bytes.subarray(8, start).toString()), found = {}
    for (const [name, { dtype, shape, data_offsets: [a, b] }] of Object.entries(header)) {
        const own = bytes.buffer.slice(bytes.byteOffset + start + a, bytes.byteOffset + start + b)
        found[name] = { shape, data: Array.from(new VIEWS[dtype](own), Number) }
    }
    return found
}
function write(file, name, { shape, data }) {
    const header = Buffer.from(JSON.stringify({ [name]: { dtype: "F64", shape, data_offsets: [0, 8 * data.length] } }))
    const size = Buffer.from(BigUint64Array.of(BigInt(header.length)).buffer)
    fs.writeFileSync(file, Buffer.concat([size, header, Buffer.from(Float64Array.from(data).buffer)]))
}

// ---- the four commands
let facts, inputs
const COMMANDS = {
    start: () => ({ families: ["ops"], levels: [] }),
    case: ({ folder }) => {
        facts = JSON.parse(fs.readFileSync(path.join(folder, "case.json")))
        inputs = read(path.join(folder, "inputs.safetensors"))
        return facts.pair in OPS ? {} : { error: `no ${facts.pair} here` }
    },
    dump: ({ folder }) => {
        write(path.join(folder, "forward.safetensors"), "output", OPS[facts.pair](inputs, facts.config))
        return { folder }
    },
    stop: () => process.exit(0),
}
readline.createInterface({ input: process.stdin }).on("line", line => {
    const asked = JSON.parse(line)
    console.log(JSON.stringify(COMMANDS[asked.command](asked)))
})
