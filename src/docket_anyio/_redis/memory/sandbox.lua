-- The world in which scripts run, with nothing in it that leads out or that one script could leave to another.
-- Takes `host`, which executes a Redis command, and the log; returns compile(text), run(script, key count, words...)
-- and run_with(script, keys, argv).

-- Both ways across, an answer is a value alone, or a value and what it is:
local STATUS, ERROR, FLAT, NESTED = 1, 2, 3, 4

local host, sha1hex, log, cjson = ...

local error, getmetatable, loadstring, pcall, rawget, rawset = error, getmetatable, loadstring, pcall, rawget, rawset
local select, setfenv, setmetatable, tostring, type, unpack = select, setfenv, setmetatable, tostring, type, unpack
local xpcall, getinfo, concat, sub = xpcall, debug.getinfo, table.concat, string.sub

local originals = setmetatable({}, { __mode = 'k' })

local function refuse_change()
    error('Attempt to modify a readonly table', 2)
end

local function protect(original, missing)
    if missing then
        setmetatable(original, { __index = missing })
    end
    local proxy = setmetatable({}, { __index = original, __newindex = refuse_change, __metatable = false })
    originals[proxy] = original
    return proxy
end

local function deliver(value, kind, ...)
    if kind == nil then
        return value
    elseif kind == STATUS then
        return { ok = value }
    elseif kind == FLAT then
        return { ... }
    elseif kind == NESTED then
        return value
    end
    error({ err = value }, 0)
end

local function deliver_quietly(value, kind, ...)
    if kind == ERROR then
        return { err = value }
    end
    return deliver(value, kind, ...)
end

local function one_string(...)
    local value = ...
    if select('#', ...) ~= 1 or type(value) ~= 'string' then
        return nil
    end
    return value
end

local redis = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    REPL_ALL = 3, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_NONE = 0,
    REDIS_VERSION = '7.0.15', REDIS_VERSION_NUM = 0x0007000f,
    call = function(...) return deliver(host(...)) end,
    pcall = function(...) return deliver_quietly(host(...)) end,
    replicate_commands = function() return true end,
    set_repl = function() end,
}

function redis.setresp(version)
    if version ~= 2 then
        error({ err = 'ERR RESP version must be 2 or 3.' }, 0)
    end
end

function redis.error_reply(...)
    local text = one_string(...)
    if not text then
        return { err = 'ERR wrong number or type of arguments' }
    end
    local has_mark = sub(text, 1, 1) == '-'
    if has_mark then
        text = sub(text, 2)
    end
    if not text:find(' ', 1, true) or not has_mark and not text:find('^%S+ ') then
        text = 'ERR ' .. text
    end
    return { err = text }
end

function redis.status_reply(...)
    local text = one_string(...)
    if not text then
        return { err = 'ERR wrong number or type of arguments' }
    end
    return { ok = text }
end

function redis.sha1hex(...)
    if select('#', ...) ~= 1 then
        error({ err = 'ERR wrong number of arguments' }, 0)
    end
    return sha1hex(tostring((...)))
end

function redis.log(level, ...)
    if type(level) ~= 'number' or select('#', ...) == 0 then
        error({ err = 'ERR redis.log() requires two arguments or more.' }, 0)
    end
    local words = { ... }
    for index = 1, select('#', ...) do
        words[index] = tostring(words[index])
    end
    log(level, concat(words, ' '))
end

local world, globals = {}, nil

local function compile(text, name)
    -- Bytecode is not checked by Lua, so it could lead out.
    if sub(text, 1, 1) == '\27' then
        return nil, 'precompiled code is not allowed'
    end
    local script, problem = loadstring(text, name)
    if not script then
        return nil, problem
    end
    return setfenv(script, globals)
end

function world.loadstring(text, name)
    return compile(text, name or text)
end

function world.load(more, name)
    local parts = {}
    for part in more do
        if part == '' then
            break
        end
        parts[#parts + 1] = part
    end
    return compile(concat(parts), name or '=(load)')
end

local function without_table(ok, problem, ...)
    if not ok and type(problem) == 'table' and rawget(problem, 'err') ~= nil then
        return false, rawget(problem, 'err')
    end
    return ok, problem, ...
end

function world.pcall(...)
    return without_table(pcall(...))
end

function world.rawset(target, name, value)
    if originals[target] then
        error('Attempt to modify a readonly table', 0)
    end
    return rawset(target, name, value)
end

function world.rawget(target, name)
    return rawget(originals[target] or target, name)
end

for _, name in ipairs({
    'assert', 'error', 'getmetatable', 'ipairs', 'next', 'pairs', 'rawequal', 'select', 'setmetatable', 'tonumber',
    'tostring', 'type', 'unpack', 'xpcall', '_VERSION',
}) do
    world[name] = _G[name]
end

local collectgarbage = collectgarbage
function world.collectgarbage(what)
    return what == 'count' and collectgarbage('count') or 0
end

world.redis = protect(redis)
world.cjson = protect(cjson)
world.string = protect(string)
world.table = protect(table)
world.math = protect(math)
world.coroutine = protect(coroutine)

globals = protect(world, function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end)
world._G = globals

-- Strings have methods by a metatable of their own, which leads to the same table.
local of_strings = getmetatable('')
of_strings.__index = world.string
of_strings.__metatable = false

-- What is left of Lua's own globals would be reached by whatever is compiled without a world of its own.
local names = {}
for name in pairs(_G) do
    names[#names + 1] = name
end
local lua_globals = _G
for _, name in ipairs(names) do
    lua_globals[name] = nil
end

local function script_line()
    local level, info = 2, getinfo(2, 'Sl')
    while info do
        if info.source == '@user_script' then
            return info.currentline
        end
        level = level + 1
        info = getinfo(level, 'Sl')
    end
    return false
end

local function explain(problem)
    if type(problem) == 'table' then
        local text = rawget(problem, 'err')
        return { type(text) == 'string' and text or 'ERR unknown error', script_line() }
    elseif type(problem) == 'userdata' then
        return problem
    end
    return { 'ERR ' .. tostring(problem), script_line() }
end

-- Longer replies would not fit on Lua's stack all at once.
local LONGEST_FLAT = 1000

local function answer_table(value)
    local text = rawget(value, 'err')
    if type(text) == 'string' then
        return text, ERROR, false
    end
    text = rawget(value, 'ok')
    if type(text) == 'string' then
        return text, STATUS
    end
    local size = 0
    while true do
        local item = value[size + 1]
        if item == nil then
            break
        end
        if type(item) == 'table' or size == LONGEST_FLAT then
            return value, NESTED
        end
        size = size + 1
    end
    return false, FLAT, unpack(value, 1, size)
end

local function answer(ok, value)
    if not ok then
        if type(value) == 'userdata' then
            error(value, 0)
        end
        return value[1], ERROR, value[2]
    elseif type(value) == 'table' then
        return answer_table(value)
    end
    return value
end

local function run_with(script, keys, argv)
    world.KEYS, world.ARGV = keys, argv
    return answer(xpcall(script, explain))
end

local function run(script, key_count, ...)
    if key_count == 0 then
        return run_with(script, {}, { ... })
    end
    local words = { ... }
    return run_with(script, { unpack(words, 1, key_count) }, { unpack(words, key_count + 1) })
end

return function(text) return compile(text, '@user_script') end, run, run_with
