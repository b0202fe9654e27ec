// The outermost form of everything that dashboard and agent hand each other through Redis: envelopes, control messages, reports, output.
// Layout: "M", format version, kind, signature scheme (one ASCII byte each), then the signature if the scheme has one, then the header's
// length as 8 hexadecimal digits, a JSON header, and raw bytes. A signature covers every byte but itself.
// Readers ignore header fields that they do not know. When adding a kind, also: a golden file in Tests/SharedTests/Golden.

/// A frame that could not be read, with the reason.
public struct FrameFault: Error, Equatable, Sendable, CustomStringConvertible {
  public let reason: String
  /// Who wrote it speaks a protocol that this program does not.
  public let isForeign: Bool
  public init(_ reason: String, isForeign: Bool = false) {
    self.reason = reason
    self.isForeign = isForeign
  }
  public var description: String { "unreadable frame: \(reason)" }
}

/// Versioned bytes: a JSON header and a raw body.
public struct Frame: Sendable, Equatable {
  public enum Kind: UInt8, Sendable {
    case envelope = 0x45  // E
    case plain = 0x50  // P: name and command from the seeds' plain hash; the "header" is the name
    case control = 0x43  // C
    case report = 0x52  // R
    case output = 0x4F  // O
  }

  public static let version = UInt8(ascii: "1")
  static let unsigned = UInt8(ascii: "0")

  public var kind: Kind
  public var header: [UInt8]
  public var body: [UInt8]

  public init(kind: Kind, header: [UInt8], body: [UInt8] = []) {
    self.kind = kind
    self.header = header
    self.body = body
  }

  public var bytes: [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(12 + header.count + body.count)
    out += [UInt8(ascii: "M"), Frame.version, kind.rawValue, Frame.unsigned]
    for shift in stride(from: 28, through: 0, by: -4) {
      let digit = UInt8(truncatingIfNeeded: header.count >> shift) & 15
      out.append(digit < 10 ? digit + 48 : digit + 87)
    }
    out += header
    out += body
    return out
  }

  /// - Throws: `FrameFault` for another magic, a newer format version, an unknown kind or scheme, or a length beyond the bytes.
  public init(bytes: [UInt8]) throws(FrameFault) {
    guard bytes.count >= 12, bytes[0] == UInt8(ascii: "M") else { throw FrameFault("no frame header") }
    guard bytes[1] == Frame.version else {
      throw FrameFault("format version '\(Character(UnicodeScalar(bytes[1])))', this program reads '1'")
    }
    guard let kind = Kind(rawValue: bytes[2]) else { throw FrameFault("kind \(bytes[2])") }
    guard bytes[3] == Frame.unsigned else {
      throw FrameFault("signature scheme '\(Character(UnicodeScalar(bytes[3])))' is not known here")
    }
    var length = 0
    for byte in bytes[4..<12] {
      switch byte {
      case 48...57: length = length << 4 | Int(byte - 48)
      case 97...102: length = length << 4 | Int(byte - 87)
      default: throw FrameFault("header length is not hexadecimal")
      }
    }
    guard 12 + length <= bytes.count else { throw FrameFault("cut short: header of \(length) bytes in \(bytes.count)") }
    self.init(kind: kind, header: Array(bytes[12..<12 + length]), body: Array(bytes[(12 + length)...]))
  }

  public init(kind: Kind, encoding header: some Encodable, body: [UInt8] = []) throws {
    self.init(kind: kind, header: try JSONCoder.encode(header), body: body)
  }

  /// - Throws: `FrameFault` when the kind differs or the header is no such value, nor within its bounds.
  public func decode<T: Decodable>(_ type: T.Type, as expected: Kind) throws(FrameFault) -> T {
    guard kind == expected else { throw FrameFault("expected a \(expected), found a \(kind)") }
    do {
      return try JSONCoder.decode(T.self, from: header)
    } catch let fault as ProtocolFault {
      throw FrameFault("\(fault)", isForeign: true)
    } catch let fault as FrameFault {
      throw fault
    } catch let error as DecodingError {
      throw FrameFault(error.sentence)
    } catch {
      throw FrameFault("\(error)")
    }
  }

  /// - Parameter mark: what the message says of its sender's protocol.
  static func check(_ mark: Int?, of sender: @autoclosure () -> String) throws(FrameFault) {
    do throws(ProtocolFault) {
      try Protocol.check(mark, of: sender())
    } catch {
      throw FrameFault("\(error)", isForeign: true)
    }
  }
}
