// Which of a Cluster's 16,384 slots a key belongs to (the Redis Cluster specification): CRC-16/XMODEM of the key, or of what stands in its
// first pair of braces where that is not empty ("hash tag").

enum HashSlot {
  static let count = 16384

  static func of(_ key: some Collection<UInt8>) -> Int {
    var part = key[...]
    if let open = key.firstIndex(of: UInt8(ascii: "{")) {
      let rest = key[key.index(after: open)...]
      if let close = rest.firstIndex(of: UInt8(ascii: "}")), close > rest.startIndex { part = rest[..<close] }
    }
    return Int(crc16(part)) % count
  }

  private static func crc16(_ bytes: some Sequence<UInt8>) -> UInt16 {
    var crc: UInt16 = 0
    for byte in bytes { crc = crc << 8 ^ table[Int(UInt8(crc >> 8) ^ byte)] }
    return crc
  }

  private static let table: [UInt16] = (0..<256).map { index in
    var value = UInt16(index) << 8
    for _ in 0..<8 { value = value & 0x8000 == 0 ? value << 1 : value << 1 ^ 0x1021 }
    return value
  }
}
