// Hand-offs that the journal lacks though a runner had the attempt: the record is not synced, and a power cut may take it while the runner's
// own records, and the exit among them, have reached the disk. Every records file is read once, at recovery, and only where an attempt is
// taken, not ended and without a hand-off (rule `records`).
// What if: two runners recorded the same attempt: the one with its exit counts, then one that lives; refusals say nothing.

import Glibc
import Runner
import Shared

struct LostHandOffs {
  private struct Key: Hashable {
    var run: String
    var attempt: UInt64
  }

  private var wanted: [Key: AttemptID] = [:]
  private var ended: Set<AttemptID> = []
  private(set) var found: [AttemptID: JournalContents.HandOff] = [:]

  var wantsAny: Bool { !wanted.isEmpty }

  mutating func want(_ id: AttemptID, of agent: AgentID) {
    wanted[Key(run: "\(RunID(agent: agent, task: id.task))", attempt: UInt64(id.attempt))] = id
  }

  /// Returns errno where the file could not be read to its end.
  mutating func look(into path: [UInt8]) -> Int32 {
    // No process, where the first record is unreadable.
    var runner = ProcessIdentity(pid: 0, startTime: 0, bootID: "")
    var reader = RecordsReader(path: path)
    var begins: [AttemptID: UInt64] = [:]
    while true {
      let start = reader.offset
      switch reader.next() {
      case .record(.opened(let heading)): runner = heading.process
      case .record(.begin(let begin)):
        guard let id = wanted[Key(run: begin.run, attempt: begin.attempt)], !ended.contains(id) else { continue }
        begins[id] = start
      case .record(.refused(let refused)):
        if let id = wanted[Key(run: refused.run, attempt: refused.attempt)] { begins[id] = nil }
      case .record(.exit(let exit)):
        guard let id = wanted[Key(run: exit.run, attempt: exit.attempt)], ended.insert(id).inserted else { continue }
        found[id] = JournalContents.HandOff(records: path, runner: runner, start: begins.removeValue(forKey: id) ?? start)
      case .record, .damaged: continue
      case .end:
        keep(begins, path, runner)
        return 0
      case .failed(let error):
        keep(begins, path, runner)
        return error
      }
    }
  }

  /// What was begun in a file that holds no exit of it.
  private mutating func keep(_ begins: [AttemptID: UInt64], _ path: [UInt8], _ runner: ProcessIdentity) {
    for (id, start) in begins where !ended.contains(id) && found[id]?.runner.isAlive != true {
      found[id] = JournalContents.HandOff(records: path, runner: runner, start: start)
    }
  }

  /// All records in the runners' folder, those of runners that have gone as well.
  static func files(_ path: String) -> [[UInt8]] {
    guard let folder = opendir(path) else { return [] }
    defer { closedir(folder) }
    var files: [[UInt8]] = []
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
      guard String(decoding: name, as: UTF8.self).contains(".rec") else { continue }
      files.append(Array("\(path)/".utf8) + name)
    }
    return files
  }
}
