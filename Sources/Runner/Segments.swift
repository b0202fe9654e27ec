// Which stream each stretch of a run's output came from. Output is one sequence of bytes in the order in which it was read;
// a position in it is a logical offset, which counts every byte the command wrote, dropped ones too.

public enum OutputStream: UInt8, Sendable, Equatable {
  /// Neither is known: what a dead runner wrote to the spool without having recorded it.
  case unknown = 0
  case stdout = 1
  case stderr = 2
}

/// A stretch of output from one stream. `length` is in bytes and never 0.
public struct Segment: Sendable, Equatable {
  public var stream: OutputStream
  public var length: UInt64

  public init(_ stream: OutputStream, _ length: UInt64) {
    self.stream = stream
    self.length = length
  }
}

/// Neighbouring segments and the logical offset at which the first one begins.
public struct SegmentList: Sendable, Equatable {
  public var offset: UInt64
  public private(set) var segments: [Segment]
  /// Bytes in all segments together.
  public private(set) var length: UInt64

  public init(offset: UInt64, _ segments: [Segment] = []) {
    self.offset = offset
    self.segments = []
    self.length = 0
    for segment in segments { append(segment) }
  }

  public var isEmpty: Bool { length == 0 }
  /// The logical offset behind the last byte.
  public var end: UInt64 { offset &+ length }

  /// Appends, merging with the last segment where the stream is the same.
  public mutating func append(_ segment: Segment) {
    guard segment.length > 0 else { return }
    length &+= segment.length
    if let last = segments.indices.last, segments[last].stream == segment.stream {
      segments[last].length &+= segment.length
    } else {
      segments.append(segment)
    }
  }

  /// Forgets the segments and begins again where they ended; the storage is kept.
  public mutating func restart() {
    offset = end
    length = 0
    segments.removeAll(keepingCapacity: true)
  }

  /// `offset`, then for each segment `length << 2 | stream`, all as base-128 numbers.
  var packed: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(10 + segments.count * 3)
    Varint.append(offset, to: &bytes)
    for segment in segments { Varint.append(segment.length << 2 | UInt64(segment.stream.rawValue), to: &bytes) }
    return bytes
  }

  init?(packed: ArraySlice<UInt8>) {
    var rest = packed
    guard let offset = Varint.take(from: &rest) else { return nil }
    self.init(offset: offset)
    while !rest.isEmpty {
      guard let number = Varint.take(from: &rest) else { return nil }
      append(Segment(OutputStream(rawValue: UInt8(number & 3)) ?? .unknown, number >> 2))
    }
  }
}
