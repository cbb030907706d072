// The layers that a transformer is made of. Tokens are the rows of a matrix, [tokens, width], in a Float32Array.

/**
 * y = x Wᵀ + b; W has one row for each output, as in PyTorch's Linear.
 *
 * Two tokens and four outputs at a time: each number that is read is used several times, and the sums do not wait for each
 * other. A last token without a partner is its own.
 * @param {Float32Array} x [tokens, inputs]
 * @param {{weight: Float32Array, bias: Float32Array}} layer [outputs, inputs] and [outputs]; outputs are a multiple of four
 * @param {Float32Array} y [tokens, outputs], written
 * @param {number} tokens
 */
export function linear(x, { weight, bias }, y, tokens) {
  const outputs = bias.length;
  for (let output = 0; output < outputs; output += 4) {
    for (let token = 0; token < tokens; token += 2) {
      twoByFour(x, weight, bias, y, token, Math.min(token + 1, tokens - 1), output, outputs, weight.length / outputs);
    }
  }
}

function twoByFour(x, weight, bias, y, token, next, output, outputs, inputs) {
  const w0 = output * inputs;
  const w1 = w0 + inputs;
  const w2 = w1 + inputs;
  const w3 = w2 + inputs;
  const row = token * inputs;
  const nextRow = next * inputs;
  let a0 = bias[output];
  let a1 = bias[output + 1];
  let a2 = bias[output + 2];
  let a3 = bias[output + 3];
  let b0 = a0;
  let b1 = a1;
  let b2 = a2;
  let b3 = a3;
  for (let i = 0; i < inputs; i++) {
    const a = x[row + i];
    const b = x[nextRow + i];
    a0 += a * weight[w0 + i];
    a1 += a * weight[w1 + i];
    a2 += a * weight[w2 + i];
    a3 += a * weight[w3 + i];
    b0 += b * weight[w0 + i];
    b1 += b * weight[w1 + i];
    b2 += b * weight[w2 + i];
    b3 += b * weight[w3 + i];
  }
  write(y, token * outputs + output, a0, a1, a2, a3);
  write(y, next * outputs + output, b0, b1, b2, b3);
}

function write(y, place, first, second, third, fourth) {
  y[place] = first;
  y[place + 1] = second;
  y[place + 2] = third;
  y[place + 3] = fourth;
}

/**
 * Each token with mean 0 and variance 1, then scaled and shifted.
 * @param {Float32Array} x [tokens, width]
 * @param {{weight: Float32Array, bias: Float32Array}} layer [width] each
 * @param {number} epsilon
 * @param {Float32Array} y [tokens, width], written
 */
export function layerNorm(x, { weight, bias }, epsilon, y) {
  const width = weight.length;
  for (let start = 0; start < x.length; start += width) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += x[start + i];
    const mean = sum / width;
    let squares = 0;
    for (let i = 0; i < width; i++) squares += (x[start + i] - mean) ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++) y[start + i] = (x[start + i] - mean) * factor * weight[i] + bias[i];
  }
}

/**
 * The exact GELU, x · Φ(x), in place; Φ is the normal distribution function.
 * @param {Float32Array} x
 */
export function gelu(x) {
  for (let i = 0; i < x.length; i++) x[i] *= normal(x[i]);
}

/**
 * The normal distribution function Φ, with an error below 7.5e-8 (Abramowitz & Stegun 1964, formula 26.2.17).
 * @param {number} x
 * @returns {number}
 */
export function normal(x) {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const above = (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * series; // 1 - Φ(|x|)
  return x > 0 ? 1 - above : above;
}

/**
 * Attention of every token to every token, in several heads; a head has its own slice of the width.
 * @param {Float32Array} query [tokens, width]; so are key and value
 * @param {Float32Array} key
 * @param {Float32Array} value
 * @param {number} heads
 * @param {number} tokens
 * @param {Float32Array} y [tokens, width], written
 */
export function attention(query, key, value, heads, tokens, y) {
  const width = query.length / tokens;
  const size = width / heads;
  const weights = new Float64Array(tokens);
  y.fill(0);
  for (let head = 0; head < width; head += size) {
    for (let token = 0; token < tokens; token++) {
      const row = token * width + head;
      for (let other = 0; other < tokens; other++) {
        const place = other * width + head;
        let product = 0;
        for (let i = 0; i < size; i++) product += query[row + i] * key[place + i];
        weights[other] = product / Math.sqrt(size);
      }
      softmax(weights);
      for (let other = 0; other < tokens; other++) {
        const place = other * width + head;
        const weight = weights[other];
        for (let i = 0; i < size; i++) y[row + i] += weight * value[place + i];
      }
    }
  }
}

/**
 * Positive numbers with the sum 1, in place.
 * @param {Float32Array | Float64Array} x
 */
export function softmax(x) {
  let most = -Infinity; // it is subtracted so that no exponential overflows
  for (let i = 0; i < x.length; i++) most = Math.max(most, x[i]);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] = Math.exp(x[i] - most);
  for (let i = 0; i < x.length; i++) x[i] /= sum;
}
