// From requests to answers: on the loop where the handler is immediate, through a task where it waits.

import HTTPTypes

extension EventLoop {
  /// Bodies up to this size are copied behind their head; larger ones are written from where they are.
  private static let copiedBody = 16 << 10

  func answer(_ request: Request, on connection: Connection) {
    let layout = request.head.layout
    connection.keepAlive = layout.keepAlive
    connection.isHTTP10 = layout.isHTTP10
    connection.isHead = request.method == .head
    switch shared.router.match(request.head) {
    case .fault(let fault): send(shared.router.render(fault, request), channel: nil, on: connection)
    case .handler(.immediate(let handler), let parameters):
      let response: Response
      do {
        response = try handler(request, parameters)
      } catch {
        response = shared.router.render(error, request)
      }
      sendStartingStream(response, to: request, on: connection)
    case .handler(.waiting(let handler), let parameters): start(handler, request, parameters, on: connection)
    }
  }

  /// Answers a request that the parser or a limit refused, and closes after it.
  func refuse(_ fault: HTTPFault, on connection: Connection) {
    connection.keepAlive = false
    connection.isHTTP10 = false
    connection.isHead = false
    var response = shared.router.render(fault, nil)
    // There is no request that a stream could belong to.
    if case .stream = response.body { response.body = .empty }
    send(response, channel: nil, on: connection)
  }

  private func start(
    _ handler: @escaping @Sendable (Request, Parameters) async throws -> Response, _ request: Request,
    _ parameters: Parameters, on connection: Connection
  ) {
    connection.phase = .waiting
    let exchange = Exchange(request: request, shared: shared, mailbox: handle.mailbox, ticket: connection.ticket)
    connection.task = Task {
      let response: Response
      do {
        response = try await handler(request, parameters)
      } catch {
        response = exchange.shared.router.render(error, request)
      }
      await exchange.deliver(response)
    }
  }

  private func sendStartingStream(_ response: Response, to request: Request, on connection: Connection) {
    let exchange = Exchange(request: request, shared: shared, mailbox: handle.mailbox, ticket: connection.ticket)
    guard let (channel, run) = exchange.stream(of: response) else {
      return send(response, channel: nil, on: connection)
    }
    connection.task = Task { await run() }
    send(response, channel: channel, on: connection)
  }

  /// Appends the answer's head, and its body if it is there already, to the outbox.
  func send(_ response: Response, channel: StreamChannel?, on connection: Connection) {
    if isDraining || ResponseEncoder.asksToClose(response) { connection.keepAlive = false }
    let framing = BodyFraming(of: response, isHTTP10: connection.isHTTP10)
    if case .untilClose = framing, !connection.isHead { connection.keepAlive = false }
    ResponseEncoder.appendHead(
      response, framing: framing, keepAlive: connection.keepAlive, isHTTP10: connection.isHTTP10, date: date.line, to: outbox)
    if let channel {
      connection.phase = .streaming
      connection.channel = channel
      connection.endsOnDrain = response.endsOnDrain
      if case .untilClose = framing { connection.resetsOnAbort = true }
      if isDraining { tellStreamToDrain(connection) }
      return
    }
    if !connection.isHead, response.allowsBody, case .bytes(let body) = response.body {
      if body.count <= Self.copiedBody {
        outbox.append(body)
      } else {
        flush(connection, followedBy: body)
      }
    }
    endExchange(connection)
  }

  func endExchange(_ connection: Connection) {
    connection.task = nil
    connection.channel = nil
    connection.streamEnding = nil
    guard connection.phase != .dead else { return }
    connection.phase = connection.keepAlive ? .reading : .finishing
    connection.wait = .nothing
  }

  // MARK: Streams

  /// Moves what a body's task has written to the output; ends the exchange with the last of it.
  func takeStream(_ connection: Connection, _ channel: StreamChannel) {
    flush(connection)
    let batch = channel.take()
    for piece in batch.pieces { connection.output.append(piece) }
    connection.streamEnding = batch.ending
    writeMore(connection)
    endStreamIfWritten(connection)
  }

  func endStreamIfWritten(_ connection: Connection) {
    guard connection.phase == .streaming, connection.output.isEmpty, let ending = connection.streamEnding else { return }
    switch ending {
    case .complete: endExchange(connection)
    case .aborted: destroy(connection, reset: connection.resetsOnAbort)
    }
  }
}
