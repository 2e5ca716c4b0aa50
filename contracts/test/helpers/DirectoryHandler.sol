// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Directory} from "../../src/Directory.sol";
import {IDirectory} from "../../src/interfaces/IDirectory.sol";
import {Test} from "./Test.sol";

/// @notice Calls the Directory at random, keeps a model of what should have happened, and notes answers about the past.
contract DirectoryHandler is Test {
    struct Answer {
        address account;
        bytes32 keyId;
        uint64 time;
        bool active;
        bool valid;
    }

    Directory public immutable directory;
    address[] public actors;
    Answer[] public answers;
    mapping(address account => bool) public active;
    mapping(address account => bool) public admitted;
    mapping(address account => bytes32[]) public published;
    mapping(address account => mapping(bytes32 keyId => uint64)) public fromOf;
    mapping(address account => mapping(bytes32 keyId => uint64)) public untilOf;
    uint64 public clock = 1_700_000_000;

    constructor() {
        vm.warp(clock);
        directory = new Directory(address(this));
        for (uint160 i = 1; i <= 4; ++i) {
            actors.push(address(i * 0x1111));
        }
    }

    function admit(uint256 seed) external {
        address who = _actor(seed);
        try directory.admit(who, "Member") {
            isTrue(!admitted[who], "admitted twice");
            (admitted[who], active[who]) = (true, true);
        } catch {
            isTrue(admitted[who], "a new account was refused");
        }
    }

    function suspend(uint256 seed) external {
        address who = _actor(seed);
        try directory.suspend(who) {
            isTrue(active[who], "suspended twice");
            active[who] = false;
        } catch {
            isTrue(!active[who], "an active member could not be suspended");
        }
    }

    function readmit(uint256 seed) external {
        address who = _actor(seed);
        try directory.readmit(who) {
            isTrue(admitted[who] && !active[who], "re-admitted without suspension");
            active[who] = true;
        } catch {
            isTrue(active[who] || !admitted[who], "a suspended member could not be re-admitted");
        }
    }

    /// @dev Members and outsiders try to act for the consortium.
    function usurp(uint256 seed, uint256 victim) external {
        address who = _actor(seed);
        vm.prank(who);
        try directory.suspend(_actor(victim)) {
            isTrue(false, "suspended by somebody else");
        } catch {}
        vm.prank(who);
        try directory.admit(_actor(victim), "Member") {
            isTrue(false, "admitted by somebody else");
        } catch {}
    }

    function publish(uint256 seed, uint8 material, uint64 from, uint64 until) external {
        address who = _actor(seed);
        from = from % 2 == 0 ? 0 : clock - 2 + from % 20;
        until = until % 2 == 0 ? 0 : clock - 2 + until % 40;
        uint64 start = from == 0 ? clock : from;
        bytes memory text = abi.encodePacked("key", material % 6);
        bytes32 keyId = sha256(text);
        bool fine = active[who] && start >= clock && (until == 0 || until > start) && fromOf[who][keyId] == 0;
        vm.prank(who);
        try directory.publishKey(IDirectory.KeyUse.Signing, text, from, until) returns (bytes32 id) {
            isTrue(fine && id == keyId, "published against the rules");
            published[who].push(keyId);
            (fromOf[who][keyId], untilOf[who][keyId]) = (start, until);
        } catch {
            isTrue(!fine, "a proper key was refused");
        }
    }

    function retire(uint256 seed, uint8 material, uint64 until) external {
        address who = _actor(seed);
        bytes32 keyId = sha256(abi.encodePacked("key", material % 6));
        (uint64 from, uint64 current) = (fromOf[who][keyId], untilOf[who][keyId]);
        until = until % 2 == 0 ? 0 : clock - 2 + until % 20;
        uint64 end = until == 0 ? clock : until;
        bool late = end < clock;
        if (end < from) end = from;
        bool fine = from != 0 && !late && (current == 0 || end < current);
        vm.prank(who);
        try directory.retireKey(keyId, until) {
            isTrue(fine, "retired against the rules");
            untilOf[who][keyId] = end;
        } catch {
            isTrue(!fine, "a proper retirement was refused");
        }
    }

    /// @dev Lets time pass, then asks about a second that is over: the answer must hold for ever.
    function ask(uint256 seed, uint8 material, uint8 wait, uint8 ago) external {
        clock += 1 + wait % 8;
        vm.warp(clock);
        address who = _actor(seed);
        bytes32 keyId = sha256(abi.encodePacked("key", material % 6));
        uint64 time = clock - 1 - ago % 30;
        bool wasActive = directory.wasActiveAt(who, time);
        answers.push(Answer(who, keyId, time, wasActive, directory.keyValidAt(who, keyId, time)));
    }

    function publishedOf(address who) external view returns (bytes32[] memory) {
        return published[who];
    }

    function counts() external view returns (uint256 actorCount, uint256 answerCount) {
        return (actors.length, answers.length);
    }

    function _actor(uint256 seed) private view returns (address) {
        return actors[seed % actors.length];
    }
}
