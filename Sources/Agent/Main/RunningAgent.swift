// From settings to a running agent and its orderly end: folders, lock, name, records, log, then the program under the main loop.
// Everything here happens on the main thread, before and after any other exists.

import Glibc
import Logging
import Runner
import Shared

enum RunningAgent {
  /// Runs an agent until it is told to stop.
  /// - Parameter readyDescriptor: where `agent start` waits to hear what becomes of it; nil in the foreground.
  static func run(_ load: () throws(AgentFailure) -> AgentSettings, readyDescriptor: Int32?) throws(AgentFailure) {
    var readiness = readyDescriptor.map { ReadinessPipe(descriptor: $0) }
    do throws(AgentFailure) {
      let signals = try Signals.block()
      let settings = try load()
      // A background process keeps no file system busy; every path is absolute by now.
      if readyDescriptor != nil { chdir("/") }
      let uuid = try claim(settings)
      let startedAt = WallTime.now()
      guard let process = ProcessIdentity.current() else { throw .system(action: "read /proc/self/stat", code: errno) }
      let control = try ControlSocket.listen(settings)
      do throws(FileError) {
        try ProcessRecord(process, uuid: uuid, startedAt: startedAt).write(settings)
      } catch {
        throw .file(error)
      }
      defer { ProcessRecord.remove(settings) }
      UnendedFile.remove(settings)
      let descriptors = DescriptorLimit.raise()
      let logger = AgentLog.open(settings, toStandardError: readyDescriptor == nil)
      if let warning = descriptors.warning(concurrency: settings.task.concurrency) { logger.warning("\(warning)") }
      let program = try AgentProgram(settings, uuid: uuid, startedAt: startedAt, descriptors: descriptors, logger: logger)
      try MainLoop(program, signals: signals, control: control, readiness: readiness.take()).run()
    } catch {
      readiness.take()?.failed(error)
      throw error
    }
  }

  /// Makes the folders, takes the state folder for this process, and learns the agent's name.
  private static func claim(_ settings: AgentSettings) throws(AgentFailure) -> AgentID {
    do throws(SettingsProblems) { try settings.prepareFolders() } catch { throw .settings(error) }
    do throws(FileLock.Failure) {
      // Never released: an end that takes too long leaves threads behind that may still write, until the process is gone.
      _ = Unmanaged.passRetained(try FileLock(settings.lockFile))
    } catch {
      switch error {
      case .held(let path, let holder): throw .alreadyRunning(lockFile: path, pid: holder)
      case .file(let error): throw .file(error)
      }
    }
    do throws(SettingsProblems) {
      return AgentID(try settings.resolveUUID())
    } catch {
      throw .settings(error)
    }
  }
}
