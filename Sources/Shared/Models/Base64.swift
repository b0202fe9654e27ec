// Base64 of RFC 4648 section 4, with padding; strict: no line breaks, no other characters, no stray bits.

public enum Base64 {
  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
  private static let values: [UInt8] = {
    var table = [UInt8](repeating: 255, count: 256)
    for (value, character) in alphabet.enumerated() { table[Int(character)] = UInt8(value) }
    return table
  }()

  public static func encode(_ bytes: some Collection<UInt8>) -> String {
    var out: [UInt8] = []
    out.reserveCapacity((bytes.count + 2) / 3 * 4)
    var pending: UInt32 = 0
    var count = 0
    for byte in bytes {
      pending = pending << 8 | UInt32(byte)
      count += 1
      if count == 3 {
        for shift in [18, 12, 6, 0] as [UInt32] { out.append(alphabet[Int(pending >> shift & 63)]) }
        pending = 0
        count = 0
      }
    }
    if count == 1 {
      out += [alphabet[Int(pending >> 2 & 63)], alphabet[Int(pending << 4 & 63)], UInt8(ascii: "="), UInt8(ascii: "=")]
    } else if count == 2 {
      out += [
        alphabet[Int(pending >> 10 & 63)], alphabet[Int(pending >> 4 & 63)], alphabet[Int(pending << 2 & 63)], UInt8(ascii: "="),
      ]
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// Nil unless the text is canonical base64.
  public static func decode(_ text: String) -> [UInt8]? {
    let bytes = Array(text.utf8)
    guard bytes.count % 4 == 0 else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count / 4 * 3)
    var index = 0
    while index < bytes.count {
      let last = index + 4 == bytes.count
      let padding = last ? (bytes[index + 3] == UInt8(ascii: "=") ? (bytes[index + 2] == UInt8(ascii: "=") ? 2 : 1) : 0) : 0
      var group: UInt32 = 0
      for k in 0..<4 {
        let value = k < 4 - padding ? values[Int(bytes[index + k])] : 0
        guard value < 64 else { return nil }
        group = group << 6 | UInt32(value)
      }
      if padding == 2 && group & 0xffff != 0 || padding == 1 && group & 0xff != 0 { return nil }
      out.append(UInt8(truncatingIfNeeded: group >> 16))
      if padding < 2 { out.append(UInt8(truncatingIfNeeded: group >> 8)) }
      if padding < 1 { out.append(UInt8(truncatingIfNeeded: group)) }
      index += 4
    }
    return out
  }
}
