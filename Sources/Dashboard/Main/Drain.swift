// Says to the API that the dashboard is about to stop, before anything else is stopped: new tasks get 503 `draining` while answers under way
// are finished. Last in the service group, because the group stops its services from the last to the first.
import ServiceLifecycle
import Synchronization

final class Drain: Service {
  private let begun = Atomic(false)
  var isDraining: Bool { begun.load(ordering: .acquiring) }

  func run() async throws {
    try await gracefulShutdown()
    begun.store(true, ordering: .releasing)
  }
}
