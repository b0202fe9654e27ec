// Follows how the store takes writes: says once when it cannot and once when it can again, tries every second meanwhile, and keeps a little
// room for the next start (`StoreReserve`). Reads go on, tasks are answered with 507 `store_full`, and reports wait in Redis.
import Logging
import ServiceLifecycle
import Shared

struct StoreKeeper: Service {
  private let store: Store
  private let trouble: Trouble
  private let logger: Logger

  init(store: Store, logger: Logger) {
    self.store = store
    self.logger = logger
    trouble = Trouble(
      logger, begins: "the store takes nothing: no task is accepted, reports wait in Redis", ends: "the store takes tasks again",
      quiet: .zero)
  }

  func run() async throws {
    await cancelWhenGracefulShutdown {
      repeat { await look() } while await pause(.seconds(1))
    }
  }

  private func look() async {
    guard let fault = store.fault else {
      trouble.passed()
      return StoreReserve.keep(store.path)
    }
    trouble.met("\(fault)", kind: "store")
    do { try await store.probe() } catch { logger.debug("the store takes nothing yet", metadata: ["why": "\(error)"]) }
  }
}
