-- The part of lua-cjson that scripts use: encode, decode and null.

local byte, char, find, format, gsub, match, sub = string.byte, string.char, string.find, string.format,
    string.gsub, string.match, string.sub
local concat, floor, huge, type, pairs, tonumber, tostring, error = table.concat, math.floor, math.huge, type, pairs,
    tonumber, tostring, error

local MAX_DEPTH, SAFE_SPARSE, SPARSE_RATIO = 1000, 10, 2
local null = newproxy()

local ESCAPES = { ['"'] = '\\"', ['\\'] = '\\\\', ['/'] = '\\/', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n',
    ['\r'] = '\\r', ['\t'] = '\\t', ['\127'] = '\\u007f' }
for code = 0, 31 do
    ESCAPES[char(code)] = ESCAPES[char(code)] or format('\\u%04x', code)
end

local function encode_string(text)
    return '"' .. gsub(text, '[%c"\\/]', ESCAPES) .. '"'
end

local function encode_number(value)
    if value ~= value or value == huge or value == -huge then
        error('Cannot serialise number: must not be NaN or Inf', 0)
    end
    return format('%.14g', value)
end

-- Returns the length if all keys are positive integers, else nil.
local function array_length(value)
    local count, highest = 0, 0
    for key in pairs(value) do
        if type(key) ~= 'number' or key < 1 or key ~= floor(key) then
            return nil
        end
        count = count + 1
        highest = key > highest and key or highest
    end
    if highest > SAFE_SPARSE and highest > count * SPARSE_RATIO then
        error('Cannot serialise table: excessively sparse array', 0)
    end
    return highest > 0 and highest or nil
end

local encode_value

local function encode_table(value, depth)
    if depth > MAX_DEPTH then
        error('Cannot serialise, excessive depth (' .. depth .. ')', 0)
    end
    local parts, length = {}, array_length(value)
    if length then
        for index = 1, length do
            parts[index] = encode_value(value[index], depth)
        end
        return '[' .. concat(parts, ',') .. ']'
    end
    for key, item in pairs(value) do
        local name
        if type(key) == 'number' then
            name = '"' .. encode_number(key) .. '"'
        elseif type(key) == 'string' then
            name = encode_string(key)
        else
            error('Cannot serialise ' .. type(key) .. ': table key must be a number or string', 0)
        end
        parts[#parts + 1] = name .. ':' .. encode_value(item, depth)
    end
    return '{' .. concat(parts, ',') .. '}'
end

function encode_value(value, depth)
    local kind = type(value)
    if kind == 'string' then
        return encode_string(value)
    elseif kind == 'number' then
        return encode_number(value)
    elseif kind == 'boolean' then
        return tostring(value)
    elseif value == nil or value == null then
        return 'null'
    elseif kind == 'table' then
        return encode_table(value, depth + 1)
    end
    error('Cannot serialise ' .. kind .. ': type not supported', 0)
end

local function utf8(code)
    if code < 0x80 then
        return char(code)
    elseif code < 0x800 then
        return char(0xC0 + floor(code / 0x40), 0x80 + code % 0x40)
    elseif code < 0x10000 then
        return char(0xE0 + floor(code / 0x1000), 0x80 + floor(code / 0x40) % 0x40, 0x80 + code % 0x40)
    end
    return char(0xF0 + floor(code / 0x40000), 0x80 + floor(code / 0x1000) % 0x40, 0x80 + floor(code / 0x40) % 0x40,
        0x80 + code % 0x40)
end

local UNESCAPES = { b = '\b', f = '\f', n = '\n', r = '\r', t = '\t', ['"'] = '"', ['\\'] = '\\', ['/'] = '/' }

local function fail(wanted, at)
    error('Expected ' .. wanted .. ' but found invalid token at character ' .. at, 0)
end

-- Returns the code point that an escape starting with \u stands for, and where it ends.
local function decode_unicode(text, at)
    local high = tonumber(match(text, '^\\u(%x%x%x%x)', at) or fail('value', at), 16)
    if high >= 0xD800 and high < 0xDC00 then
        local low = tonumber(match(text, '^\\u(%x%x%x%x)', at + 6) or fail('value', at), 16)
        if low < 0xDC00 or low > 0xDFFF then
            fail('value', at)
        end
        return 0x10000 + (high - 0xD800) * 0x400 + low - 0xDC00, at + 12
    end
    return high, at + 6
end

local function decode_string(text, at)
    local parts, start = {}, at + 1
    while true do
        local stop = find(text, '["\\%c]', start) or fail('string end', start)
        parts[#parts + 1] = sub(text, start, stop - 1)
        local mark = sub(text, stop, stop)
        if mark == '"' then
            return concat(parts), stop + 1
        elseif mark == '\127' then
            parts[#parts + 1], start = mark, stop + 1
        elseif mark ~= '\\' then
            fail('string end', stop)
        elseif sub(text, stop + 1, stop + 1) == 'u' then
            local code
            code, start = decode_unicode(text, stop)
            parts[#parts + 1] = utf8(code)
        else
            parts[#parts + 1] = UNESCAPES[sub(text, stop + 1, stop + 1)] or fail('value', stop)
            start = stop + 2
        end
    end
end

local function after_space(text, at)
    return find(text, '[^ \t\r\n]', at) or #text + 1
end

local decode_value

local function decode_array(text, at, depth)
    local items = {}
    at = after_space(text, at + 1)
    if sub(text, at, at) == ']' then
        return items, at + 1
    end
    while true do
        items[#items + 1], at = decode_value(text, at, depth)
        at = after_space(text, at)
        local mark = sub(text, at, at)
        if mark == ']' then
            return items, at + 1
        elseif mark ~= ',' then
            fail('comma or array end', at)
        end
        at = at + 1
    end
end

local function decode_object(text, at, depth)
    local members = {}
    at = after_space(text, at + 1)
    if sub(text, at, at) == '}' then
        return members, at + 1
    end
    while true do
        at = after_space(text, at)
        if sub(text, at, at) ~= '"' then
            fail('object key string', at)
        end
        local name
        name, at = decode_string(text, at)
        at = after_space(text, at)
        if sub(text, at, at) ~= ':' then
            fail('colon', at)
        end
        members[name], at = decode_value(text, at + 1, depth)
        at = after_space(text, at)
        local mark = sub(text, at, at)
        if mark == '}' then
            return members, at + 1
        elseif mark ~= ',' then
            fail('comma or object end', at)
        end
        at = at + 1
    end
end

local function literal(text, at)
    if sub(text, at, at + 3) == 'true' then
        return true, at + 4
    elseif sub(text, at, at + 4) == 'false' then
        return false, at + 5
    elseif sub(text, at, at + 3) == 'null' then
        return null, at + 4
    end
    fail('value', at)
end

function decode_value(text, at, depth)
    if depth > MAX_DEPTH then
        error('Found too many nested data structures (' .. depth .. ')', 0)
    end
    at = after_space(text, at)
    local mark = sub(text, at, at)
    if mark == '"' then
        return decode_string(text, at)
    elseif mark == '{' then
        return decode_object(text, at, depth + 1)
    elseif mark == '[' then
        return decode_array(text, at, depth + 1)
    end
    local digits = match(text, '^-?%d[%w.+-]*', at)
    if not digits then
        return literal(text, at)
    end
    return tonumber(digits) or fail('value', at), at + #digits
end

local cjson = { null = null, _NAME = 'cjson', _VERSION = '2.1.0' }

function cjson.encode(value)
    return encode_value(value, 0)
end

function cjson.decode(text)
    text = tostring(text)
    local value, at = decode_value(text, 1, 0)
    at = after_space(text, at)
    if at <= #text then
        fail('the end', at)
    end
    return value
end

return cjson
