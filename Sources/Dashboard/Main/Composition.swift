// The dashboard's one composition root: builds everything from the settings, in the order in which it may be needed, and runs it until it is
// asked to stop. `main` and the tests use the same one.
// When adding a loop, also: add it to `services` here; services stop from the last to the first, so whoever feeds others stands after them.
import Glibc
import HTTP
import Logging
import Redis
import ServiceLifecycle
import Shared

struct Composition: Sendable {
  let settings: DashboardSettings
  let logger: Logger
  let lock: FileLock
  let store: Store
  let embedded: EmbeddedRedis?
  let server: Server
  let services: [any Service]

  /// - Throws: a sentence for the operator: folder, lock, database, Redis or port.
  static func build(_ settings: DashboardSettings, logger: Logger) async throws -> Composition {
    try settings.prepareFolders()
    let lock = try self.lock(settings)
    let store = try Store.open(at: "\(settings.data.path)/muster.sqlite", migrations: try Embedded.migrations())
    let health = HealthBoard()
    if let risk = DescriptorLimit.risk(connections: settings.http.limits.connections) {
      logger.warning("\(risk)")
      health.set(.descriptors, risk)
    }
    let mood = RedisMood(health: health, logger: logger)
    let identity = try await store.write { try StoreIdentity.load($0) }
    let (redis, embedded) = try await self.redis(settings, health: health, logger: logger)

    let link = RedisLink(redis)
    let fleet = Fleet()
    let desks = Desks()
    let standing = Standing()
    let watch = RunWatch()
    let drain = Drain()
    let damage = DamageBook(health: health, logger: logger)
    let known = try await store.read { try FlowDesks.load($0, damaged: damage.found) }
    for (agent, desk) in known { desks.withDesk(agent) { $0 = desk } }
    fleet.expect(known.map(\.0))

    let refusals = Refusals(link: link, standing: standing, desks: desks, mood: mood, health: health, logger: logger)
    let sender = Sender(
      store: store, link: link, fleet: fleet, desks: desks, standing: standing, refusals: refusals, damage: damage, logger: logger
    ) {
      agent, changed in
      watch.publish(changed.map { RunNews(RunID(agent: agent, task: $0.task), .state($0.state)) })
    }
    let clock = DeadlineClock(continuing: try await store.read { try StoreIdentity.clock($0) }, boot: DeadlineClock.currentBoot())
    let waker = AttemptWaker(store: store, desks: desks, sender: sender, clock: clock, logger: logger)
    let requests = store.forRequests()
    let targets = Targets(store: requests, link: link, fleet: fleet, standing: standing)
    let removed = RemovedAgents(
      fenced: try await store.read { try FlowRemoval.fenced($0) }, store: store, link: link, fleet: fleet, desks: desks,
      standing: standing, sender: sender, refusals: refusals, logger: logger
    ) { agent, runs in
      targets.forget(agent)
      watch.publish(runs.map { RunNews(RunID(agent: agent, task: $0.task), .state($0.state)) })
    }
    let tally = ReportTally()
    let flow = CollectorTools(
      store: store, link: link, fleet: fleet, desks: desks, standing: standing, sender: sender, refusals: refusals, waker: waker,
      clock: clock, health: health, tally: tally, damage: damage, removed: removed,
      publish: { agent, changed, grown in
        // Output first: whoever waits for the verdict finds all that came with it.
        watch.publish(
          grown.map { RunNews(RunID(agent: agent, task: $0.task), .output(upTo: $0.upTo)) }
            + changed.map { RunNews(RunID(agent: agent, task: $0.task), .state($0.state)) })
      }, logger: logger)
    let stopper = Stopper(flow: flow)
    let newest = try await store.read { try FreshTask.newest(in: $0) }
    let api = APIServices(
      store: requests, watch: watch, ids: ULIDGenerator(floor: newest ?? .min), clock: clock, version: MusterVersion.text,
      agent: { try await targets.agent($0) }, project: { try await targets.project($0) },
      either: { try await targets.either($0) },
      presence: { fleet.presence(of: $0) }, online: { fleet.onlineAgents() },
      admit: { task, db in
        for index in task.runs.indices {
          guard let mark = try sender.admit(task.runs[index].id.agent, in: db, now: task.createdAt) else { continue }
          task.runs[index].state = .sent
          task.runs[index].mark = mark
        }
      },
      accepted: { task in
        for run in task.runs {
          let marked = run.mark.map {
            MarkedRun(task: task.id, attempt: 1, spec: task.spec, mark: $0, startBefore: task.startBefore)
          }
          sender.accepted(run.id.agent, marked: marked)
        }
        sender.ring(task.runs.map(\.id.agent))
      },
      doubted: { agents, error in
        desks.doubt(agents, after: error)
        sender.ring(agents)
      },
      stopped: { stopper.ring($0) }, remove: { try await removed.remove($0, by: $1) },
      standing: {
        if drain.isDraining { return .draining }
        if case .standby(let reason) = standing.state { return .standby(reason) }
        return .accepting
      },
      health: {
        HealthParts(
          store: store.fault?.description ?? "healthy", redis: health.reason(.redis) ?? "connected",
          redisServer: link.commands.whereabouts, warnings: health.warnings, canAccept: store.fault == nil,
          reports: tally.counts)
      },
      failed: { error, target in logger.error("a request failed", metadata: ["target": "\(target)", "why": "\(error)"]) })
    let server = try Server(
      host: settings.http.listen.host, port: settings.http.listen.port, limits: ServerLimits(settings.http.limits),
      router: dashboardRouter(api, files: try Embedded.files(folder: settings.public.path)))

    var services: [any Service] = []
    if let embedded { services.append(embedded) }
    services += [
      StandingKeeper(
        store: store, link: link, standing: standing, desks: desks, fleet: fleet, health: health, mood: mood, identity: identity,
        logger: logger),
      StoreKeeper(store: store, logger: logger),
      LinkWatcher(link: link, mood: mood, fleet: fleet),
      RedisInspector(link: link, fleet: fleet, health: health, logger: logger),
      PresenceWatcher(
        link: link, fleet: fleet, desks: desks, standing: standing, sender: sender, refusals: refusals, clock: clock, mood: mood,
        removed: removed, logger: logger
      ),
      Janitor(
        store: requests, days: settings.retention.days, bytes: Int64(settings.retention.bytes), clock: clock, logger: logger),
      sender, waker, Reconciler(flow: flow, clock: clock), stopper, LapseKeeper(flow: flow),
      OutputRecaller(flow: flow),
    ]
    for shard in 0..<Keys.shards {
      services.append(ReportCollector.loop(shard: shard, flow))
      services.append(OutputCollector.loop(shard: shard, flow))
    }
    services += [HTTPService(server: server), drain]
    return Composition(
      settings: settings, logger: logger, lock: lock, store: store, embedded: embedded, server: server, services: services)
  }

  private static func lock(_ settings: DashboardSettings) throws -> FileLock {
    do { return try FileLock("\(settings.data.path)/dashboard.lock") } catch {
      guard case .held(_, let process) = error else { throw error }
      let who = process.map { " (process \($0))" } ?? ""
      throw StartFault("another dashboard\(who) uses \(settings.data.path); stop it, or name another folder with --data")
    }
  }

  /// Runs until SIGTERM or SIGINT, or until a loop fails.
  func run() async throws {
    var configuration = ServiceGroupConfiguration(
      services: services.map { .init(service: $0) }, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    configuration.maximumGracefulShutdownDuration = .seconds(6)
    do { try await ServiceGroup(configuration: configuration).run() } catch {
      await end()
      throw error
    }
    await end()
  }

  private func end() async {
    await embedded?.stop()
    do { try store.close() } catch { logger.error("the store did not close", metadata: ["why": "\(error)"]) }
  }

  private static func redis(_ settings: DashboardSettings, health: HealthBoard, logger: Logger) async throws -> (
    RedisConfiguration, EmbeddedRedis?
  ) {
    var embedded: EmbeddedRedis?
    if case .embedded = settings.redis.place {
      embedded = try await EmbeddedRedis(folder: settings.redisFolder, health: health, logger: logger)
    }
    var configuration = RedisConfiguration(
      settings.redis, embeddedPort: embedded?.port, clientName: "muster-dashboard", backoff: ReconnectBackoff())
    configuration.masterCheck = .seconds(1)
    return (configuration, embedded)
  }
}

/// Why the dashboard does not start, as a sentence.
struct StartFault: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// The server as a loop of the service group.
struct HTTPService: Service {
  let server: Server
  func run() async throws {
    try await withGracefulShutdownHandler {
      try await server.run()
    } onGracefulShutdown: {
      server.beginShutdown()
    }
  }
}
