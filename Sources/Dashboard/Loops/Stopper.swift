// Runs that somebody has just asked to end: rung after the commit, so that an agent hears of it at once, and a run that was never sent ends at
// once. Whatever does not succeed here is the `Reconciler`'s: it repeats it until the effect is reported.
import Logging
import ServiceLifecycle
import Shared
import Synchronization

final class Stopper: Service {
  private let flow: CollectorTools
  private let wanted = Mutex<Set<RunID>>([])
  private let bell: AsyncStream<Void>
  private let bellCord: AsyncStream<Void>.Continuation
  /// Runs looked at together.
  private static let batch = 1000

  init(flow: CollectorTools) {
    self.flow = flow
    (bell, bellCord) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// The end of these runs is asked for, or asked for in another way, and committed.
  func ring(_ runs: [RunID]) {
    // Also what is marked and waits for Redis.
    for run in runs {
      flow.desks.withDesk(run.agent) { desk in
        desk.stopped[run.task] = .now
        desk.marked.removeAll { $0.task == run.task }
      }
    }
    wanted.withLock { $0.formUnion(runs) }
    bellCord.yield()
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      for await _ in self.bell {
        guard !Task.isCancelled else { break }
        let runs = self.wanted.withLock { wanted in
          defer { wanted = [] }
          return Array(wanted)
        }
        guard let fence = self.flow.standing.fence else { continue }
        for part in runs.chunks(of: Self.batch) {
          do {
            try await self.stop(part, fence)
          } catch { self.flow.logger.debug("stopping has to wait", metadata: ["why": "\(error)"]) }
        }
      }
    }
  }

  private func stop(_ runs: [RunID], _ fence: Fence) async throws {
    // A request that is on its way already may have asked for less.
    for run in runs { flow.desks.withDesk(run.agent) { $0.asked[run.task] = nil } }
    let attendant = Attendant(flow: flow)
    for _ in 0..<2 {
      let open = try await flow.store.read { try FlowEnds.open($0, runs) }
      flow.damage.found(open.damaged)
      guard try await attendant.attend(open.runs, fence) else { return }
    }
  }
}
