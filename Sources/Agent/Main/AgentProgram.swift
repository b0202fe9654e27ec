// The composition root: everything a running agent is made of, built here and nowhere else. `run` and `start` come here with the same
// settings; so do the tests, by way of the program itself.

import Glibc
import HTTP
import Logging
import Shared

final class AgentProgram: Sendable {
  let settings: AgentSettings
  let logger: Logger
  private let uuid: AgentID
  private let startedAt: WallTime
  private let work: AgentWork
  private let server: Server

  /// Listens on the own HTTP address; nothing is answered and nothing taken before `run`.
  /// - Parameter descriptors: the limit before the agent raised its own.
  init(
    _ settings: AgentSettings, uuid: AgentID, startedAt: WallTime, descriptors: DescriptorLimit, logger: Logger
  ) throws(AgentFailure) {
    self.settings = settings
    self.uuid = uuid
    self.startedAt = startedAt
    self.logger = logger
    let work = AgentWork(settings: settings, uuid: uuid, host: HostFacts.read(), originalDescriptors: descriptors, logger: logger)
    self.work = work
    do throws(ServerError) {
      let listen = settings.http.listen
      server = try Server(
        host: listen.host, port: listen.port, limits: ServerLimits(settings.http.limits), loops: 1,
        router: AgentRoutes(work, uuid).router)
    } catch {
      throw .cannotListen(address: "\(settings.http.listen)", reason: error.code == 0 ? "\(error)" : systemErrorText(error.code))
    }
  }

  /// Where the own HTTP listens.
  var listening: HostPort { HostPort(host: server.host, port: server.port) }

  /// Serves and works until `stop` has taken effect.
  func run() async -> Result<Void, AgentFailure> {
    logger.notice(
      "agent starts",
      metadata: [
        "uuid": "\(uuid)", "version": "\(MusterVersion.text)", "http": "\(listening)", "redis": "\(settings.redis.place)",
        "state": "\(settings.state.path)", "settings": "\(settings.source.file ?? "defaults")",
      ])
    for warning in settings.source.warnings { logger.warning("\(warning)") }
    async let serving: Void = serve()
    let outcome: Result<Void, AgentFailure>
    do {
      try await work.run(httpPort: server.port)
      outcome = .success(())
    } catch {
      if case .unended(let what) = error { outcome = .failure(.unended(what)) } else { outcome = .failure(.work("\(error)")) }
    }
    server.beginShutdown()
    await serving
    if case .failure(let failure) = outcome { logger.error("\(failure)") }
    logger.notice("agent ends")
    return outcome
  }

  func stop(_ mode: StopMode) { work.stop(mode) }

  /// Commands under way, a second ago at most.
  var running: Int { work.status.running }
  /// Whether Redis knows of this agent.
  var isRegistered: Bool { work.status.isRegistered }
  /// Why Redis is not connected; nil while it is.
  var redisFault: String? { work.status.redisFault }

  func status(stopping: StopMode?) -> AgentStatus {
    let status = work.status
    return AgentStatus(
      uuid: uuid.text, pid: getpid(), version: MusterVersion.text, startedAt: startedAt, projects: settings.tags,
      redis: "\(settings.redis.place)", redisFault: status.redisFault, leaseFault: status.leaseFault, running: status.running,
      concurrency: settings.task.concurrency, waiting: status.waiting, unacknowledged: status.unacknowledged, fault: status.fault,
      http: "\(listening)", stopping: stopping.map { "\($0)" }, statePath: settings.state.path, logFile: settings.logFile)
  }

  /// An agent works without its own HTTP, so a fault there ends nothing.
  private func serve() async {
    do {
      try await server.run()
    } catch {
      logger.error("the own HTTP server has failed", metadata: ["error": "\(error)"])
    }
  }
}
