// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IDirectory} from "./interfaces/IDirectory.sol";

/// @title The Directory, on OpenZeppelin Ownable2Step; see IDirectory
contract Directory is IDirectory, Ownable2Step {
    /// @notice The longest name, in bytes.
    uint256 public constant MAX_NAME_BYTES = 128;
    /// @notice The longest endpoint, in bytes.
    uint256 public constant MAX_ENDPOINT_BYTES = 512;
    /// @notice The longest key material, in bytes (a hybrid age recipient takes 1,959).
    uint256 public constant MAX_MATERIAL_BYTES = 4096;
    /// @notice How many keys an account can publish.
    uint256 public constant MAX_KEYS = 256;

    // Proofs name these slots: their order and the packing of the structs are part of docs/ledger.md.
    mapping(address account => Member) private _members;
    mapping(address account => Period[]) private _periods;
    mapping(address account => mapping(bytes32 keyId => Key)) private _keys;
    mapping(address account => bytes32[]) private _keyIds;
    address[] private _accounts;

    modifier onlyActive() {
        if (!_members[msg.sender].active) revert NotActiveMember(msg.sender);
        _;
    }

    /// @param consortium The account (better: the multi-signature contract) that admits and suspends members
    constructor(address consortium) Ownable(consortium) {}

    /// @inheritdoc IDirectory
    function admit(address account, string calldata name) external onlyOwner {
        if (account == address(0)) revert ZeroAccount();
        uint256 length = bytes(name).length;
        if (length == 0 || length > MAX_NAME_BYTES) revert BadNameLength(length, MAX_NAME_BYTES);
        Member storage member = _members[account];
        if (member.admittedAt != 0) revert AlreadyAdmitted(account);
        member.name = name;
        member.active = true;
        member.admittedAt = _now();
        _periods[account].push(Period({from: _now(), until: 0}));
        _accounts.push(account);
        emit MemberAdmitted(account, name);
    }

    /// @inheritdoc IDirectory
    function suspend(address account) external onlyOwner {
        if (!_members[account].active) revert NotActiveMember(account);
        _members[account].active = false;
        Period[] storage periods = _periods[account];
        periods[periods.length - 1].until = _now();
        emit MemberSuspended(account);
    }

    /// @inheritdoc IDirectory
    function readmit(address account) external onlyOwner {
        Member storage member = _members[account];
        if (member.active || member.admittedAt == 0) revert NotSuspended(account);
        member.active = true;
        _periods[account].push(Period({from: _now(), until: 0}));
        emit MemberReadmitted(account);
    }

    /// @inheritdoc IDirectory
    function publishKey(KeyUse use, bytes calldata material, uint64 from, uint64 until)
        external
        onlyActive
        returns (bytes32 keyId)
    {
        uint256 length = material.length;
        if (length == 0 || length > MAX_MATERIAL_BYTES) revert BadMaterialLength(length, MAX_MATERIAL_BYTES);
        if (_keyIds[msg.sender].length >= MAX_KEYS) revert TooManyKeys(msg.sender, MAX_KEYS);
        from = _nowOrLater(from);
        if (until != 0 && until <= from) revert EmptyPeriod(from, until);
        keyId = sha256(material);
        if (_keys[msg.sender][keyId].from != 0) revert KeyAlreadyPublished(msg.sender, keyId);
        _keys[msg.sender][keyId] = Key({use: use, from: from, until: until, material: material});
        _keyIds[msg.sender].push(keyId);
        emit KeyPublished(msg.sender, keyId, use, from, until);
    }

    /// @inheritdoc IDirectory
    function retireKey(bytes32 keyId, uint64 until) external {
        Key storage key = _keys[msg.sender][keyId];
        (uint64 from, uint64 current) = (key.from, key.until);
        if (from == 0) revert UnknownKey(msg.sender, keyId);
        until = _nowOrLater(until);
        // A key withdrawn before it became valid keeps an ordered, empty period.
        if (until < from) until = from;
        if (current != 0 && until >= current) revert NotEarlier(until, current);
        key.until = until;
        emit KeyRetired(msg.sender, keyId, until);
    }

    /// @inheritdoc IDirectory
    function setEndpoint(string calldata endpoint) external onlyActive {
        uint256 length = bytes(endpoint).length;
        if (length > MAX_ENDPOINT_BYTES) revert EndpointTooLong(length, MAX_ENDPOINT_BYTES);
        _members[msg.sender].endpoint = endpoint;
        emit EndpointChanged(msg.sender, endpoint);
    }

    /// @notice Always reverts: without an owner no member could ever be suspended again.
    function renounceOwnership() public view override onlyOwner {
        revert OwnershipCannotBeRenounced();
    }

    /// @inheritdoc IDirectory
    function isActive(address account) external view returns (bool) {
        return _members[account].active;
    }

    /// @inheritdoc IDirectory
    function wasActiveAt(address account, uint64 time) external view returns (bool) {
        // Periods are few, ordered and disjoint: the last to begin by `time` is the only one that can hold it.
        Period[] storage periods = _periods[account];
        for (uint256 i = periods.length; i > 0; --i) {
            Period memory period = periods[i - 1];
            if (period.from <= time) return _holds(period.from, period.until, time);
        }
        return false;
    }

    /// @inheritdoc IDirectory
    function memberOf(address account) external view returns (Member memory) {
        return _members[account];
    }

    /// @inheritdoc IDirectory
    function periodsOf(address account) external view returns (Period[] memory) {
        return _periods[account];
    }

    /// @inheritdoc IDirectory
    function memberCount() external view returns (uint256) {
        return _accounts.length;
    }

    /// @inheritdoc IDirectory
    function members(uint256 offset, uint256 limit) external view returns (address[] memory page) {
        uint256 count = _accounts.length;
        if (offset >= count) return page;
        uint256 length = limit < count - offset ? limit : count - offset;
        page = new address[](length);
        for (uint256 i = 0; i < length; ++i) {
            page[i] = _accounts[offset + i];
        }
    }

    /// @inheritdoc IDirectory
    function keyOf(address account, bytes32 keyId) external view returns (Key memory) {
        return _keys[account][keyId];
    }

    /// @inheritdoc IDirectory
    function keyIdsOf(address account) external view returns (bytes32[] memory) {
        return _keyIds[account];
    }

    /// @inheritdoc IDirectory
    function keyValidAt(address account, bytes32 keyId, uint64 time) external view returns (bool) {
        Key storage key = _keys[account][keyId];
        return key.from != 0 && _holds(key.from, key.until, time);
    }

    function _now() private view returns (uint64) {
        return uint64(block.timestamp);
    }

    function _nowOrLater(uint64 time) private view returns (uint64) {
        if (time == 0) return _now();
        if (time < _now()) revert Backdated(time, _now());
        return time;
    }

    function _holds(uint64 from, uint64 until, uint64 time) private pure returns (bool) {
        return from <= time && (until == 0 || time < until);
    }
}
