// Percent-decoding (RFC 3986) of single path segments and query parts. Strict: a broken escape is a fault, never text.

enum PercentCoding {
  /// The bytes that `encoded` stands for, or nil where an escape is broken. With `plusIsSpace`, as in a form or a query.
  static func decode(_ encoded: some Sequence<UInt8>, plusIsSpace: Bool = false) -> [UInt8]? {
    var decoded: [UInt8] = []
    var iterator = encoded.makeIterator()
    while let byte = iterator.next() {
      if byte == UInt8(ascii: "%") {
        guard let first = iterator.next().flatMap(ByteRules.hexDigit), let second = iterator.next().flatMap(ByteRules.hexDigit)
        else { return nil }
        decoded.append(UInt8(first << 4 | second))
      } else {
        decoded.append(plusIsSpace && byte == UInt8(ascii: "+") ? ByteRules.space : byte)
      }
    }
    return decoded
  }

  /// The text that `encoded` stands for, or nil where it is broken, holds a NUL, or is not UTF-8.
  static func text(_ encoded: some Sequence<UInt8>, plusIsSpace: Bool = false) -> String? {
    guard let bytes = decode(encoded, plusIsSpace: plusIsSpace), !bytes.contains(0) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }
}
