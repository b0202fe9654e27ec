// Entries of one stream whose content is committed, until they are known to be deleted. A stream is bounded, and an entry that stays takes its
// place for good: the reader has gone past it and does not come back. So what could not be deleted is kept here and deleted with the next ones, or
// a second later where none come.
// What if: Redis refuses (full disk, read-only, a right that is missing): tried again until it does not; the connection is lost: the reader begins
// anew at the oldest entry that is there, finds what it has committed stale, and brings it here again.
import Redis
import Shared
import Synchronization

final class FinishedEntries: Sendable {
  private struct Guarded {
    var ids: Set<String> = []
    var isDeleting = false
  }
  private let stream: String
  private let link: RedisLink
  private let refusals: Refusals
  private let guarded = Mutex(Guarded())
  /// Deleted by one command.
  private static let batch = 1000

  init(_ stream: String, link: RedisLink, refusals: Refusals) {
    self.stream = stream
    self.link = link
    self.refusals = refusals
  }

  /// Begins to delete these and what is left, without holding up the reading.
  func add(_ ids: some Sequence<String>) {
    guarded.withLock { $0.ids.formUnion(ids) }
    deleteWhatIsLeft()
  }

  /// The reader begins anew: whatever is still there it reads again.
  func forget() { guarded.withLock { $0.ids = [] } }

  /// Nothing where a deletion is under way: that one takes everything along.
  func deleteWhatIsLeft() {
    let mayBegin = guarded.withLock { guarded in
      guard !guarded.isDeleting, !guarded.ids.isEmpty else { return false }
      guarded.isDeleting = true
      return true
    }
    guard mayBegin else { return }
    Task { await delete() }
  }

  private func delete() async {
    while let ids = next() {
      switch await link.commands.outcomes(of: [RedisCommand("XDEL", arguments: [stream] + ids)])[0] {
      case .success(.error(let error)):
        refusals.met(error)
        return stop()
      case .success: guarded.withLock { $0.ids.subtract(ids) }
      case .failure: return stop()
      }
    }
  }

  private func next() -> [String]? {
    guarded.withLock { guarded in
      guarded.isDeleting = !guarded.ids.isEmpty
      return guarded.isDeleting ? Array(guarded.ids.prefix(Self.batch)) : nil
    }
  }

  private func stop() { guarded.withLock { $0.isDeleting = false } }
}
