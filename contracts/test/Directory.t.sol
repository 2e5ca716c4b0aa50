// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Directory} from "../src/Directory.sol";
import {IDirectory} from "../src/interfaces/IDirectory.sol";
import {Test} from "./helpers/Test.sol";

contract DirectoryTest is Test {
    uint64 private constant START = 1_700_000_000;
    bytes private constant MATERIAL = "age1example";

    address private immutable consortium = account("consortium");
    address private immutable mine = account("mine");
    address private immutable retailer = account("retailer");
    Directory private directory;

    function setUp() public {
        vm.warp(START);
        directory = new Directory(consortium);
    }

    // Membership

    function test_Admit_RecordsTheMemberAndItsFirstPeriod() public {
        vm.expectEmit(address(directory));
        emit IDirectory.MemberAdmitted(mine, "Mine AG");
        _admit(mine, "Mine AG");
        IDirectory.Member memory member = directory.memberOf(mine);
        equal(member.name, "Mine AG", "name");
        equal(member.endpoint, "", "endpoint");
        isTrue(member.active && directory.isActive(mine), "active");
        equal(member.admittedAt, START, "admittedAt");
        _periodsAre(mine, START, 0);
    }

    function test_Admit_OnlyByTheConsortium() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, mine));
        vm.prank(mine);
        directory.admit(mine, "Mine AG");
    }

    function test_Admit_RefusesTheZeroAddress() public {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.ZeroAccount.selector));
        _admit(address(0), "Nobody");
    }

    function test_Admit_RefusesAnAccountAdmittedBeforeEvenIfSuspended() public {
        _admit(mine, "Mine AG");
        _suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.AlreadyAdmitted.selector, mine));
        _admit(mine, "Mine AG");
    }

    function test_Admit_LimitsTheName() public {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.BadNameLength.selector, 0, 128));
        _admit(mine, "");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.BadNameLength.selector, 129, 128));
        _admit(mine, string(new bytes(129)));
        _admit(mine, string(new bytes(128)));
        _admit(retailer, "R");
    }

    function test_Suspend_EndsThePeriodAndKeepsThePast() public {
        _admit(mine, "Mine AG");
        vm.warp(START + 10);
        vm.expectEmit(address(directory));
        emit IDirectory.MemberSuspended(mine);
        _suspend(mine);
        isTrue(!directory.isActive(mine) && !directory.memberOf(mine).active, "suspended");
        _periodsAre(mine, START, START + 10);
        isTrue(!directory.wasActiveAt(mine, START - 1), "before admission");
        isTrue(directory.wasActiveAt(mine, START), "first second");
        isTrue(directory.wasActiveAt(mine, START + 9), "last second");
        isTrue(!directory.wasActiveAt(mine, START + 10), "the end is not in the period");
    }

    function test_Suspend_OnlyByTheConsortiumAndOnlyAnActiveMember() public {
        _admit(mine, "Mine AG");
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, mine));
        vm.prank(mine);
        directory.suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotActiveMember.selector, retailer));
        _suspend(retailer);
        _suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotActiveMember.selector, mine));
        _suspend(mine);
    }

    function test_Readmit_BeginsANewPeriodAndKeepsTheGap() public {
        _admit(mine, "Mine AG");
        vm.warp(START + 10);
        _suspend(mine);
        vm.warp(START + 20);
        vm.expectEmit(address(directory));
        emit IDirectory.MemberReadmitted(mine);
        _readmit(mine);
        isTrue(directory.isActive(mine), "active");
        equal(directory.memberOf(mine).admittedAt, START, "first admission stays");
        IDirectory.Period[] memory periods = directory.periodsOf(mine);
        equal(periods.length, 2, "periods");
        equal(periods[1].from, START + 20, "second from");
        equal(periods[1].until, 0, "second until");
        isTrue(!directory.wasActiveAt(mine, START + 19), "gap");
        isTrue(directory.wasActiveAt(mine, START + 20), "again");
        isTrue(directory.wasActiveAt(mine, START + 5), "first period");
    }

    function test_Readmit_InTheSecondOfTheSuspensionLeavesNoGap() public {
        _admit(mine, "Mine AG");
        vm.warp(START + 10);
        _suspend(mine);
        _readmit(mine);
        _suspend(mine);
        _readmit(mine);
        isTrue(directory.wasActiveAt(mine, START + 9), "before");
        isTrue(directory.wasActiveAt(mine, START + 10), "at");
        isTrue(directory.wasActiveAt(mine, START + 11), "after");
    }

    function test_Readmit_OnlyByTheConsortiumAndOnlyASuspendedMember() public {
        _admit(mine, "Mine AG");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotSuspended.selector, mine));
        _readmit(mine);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotSuspended.selector, retailer));
        _readmit(retailer);
        _suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, mine));
        vm.prank(mine);
        directory.readmit(mine);
    }

    function test_Members_Pages() public {
        for (uint160 i = 1; i <= 5; ++i) {
            _admit(address(i), "M");
        }
        _suspend(address(2));
        equal(directory.memberCount(), 5, "count");
        address[] memory page = directory.members(1, 2);
        equal(page.length, 2, "page");
        equal(page[0], address(2), "order of admission, suspended included");
        equal(page[1], address(3), "order of admission");
        equal(directory.members(3, type(uint256).max).length, 2, "clipped");
        equal(directory.members(5, 1).length, 0, "at the end");
        equal(directory.members(type(uint256).max, type(uint256).max).length, 0, "beyond");
        equal(directory.members(0, 0).length, 0, "none asked");
    }

    function test_Views_AnswerZerosForTheUnknown() public view {
        isTrue(!directory.isActive(mine) && !directory.wasActiveAt(mine, START), "inactive");
        equal(directory.memberOf(mine).admittedAt, 0, "member");
        equal(directory.periodsOf(mine).length, 0, "periods");
        equal(directory.keyOf(mine, bytes32(0)).from, 0, "key");
        equal(directory.keyIdsOf(mine).length, 0, "key ids");
        isTrue(!directory.keyValidAt(mine, bytes32(0), 0) && !directory.keyValidAt(mine, bytes32(0), START), "validity");
    }

    // Ownership

    function test_Ownership_MovesInTwoStepsAndIsNeverGivenUp() public {
        vm.prank(consortium);
        directory.transferOwnership(retailer);
        equal(directory.owner(), consortium, "before acceptance");
        vm.prank(retailer);
        directory.acceptOwnership();
        equal(directory.owner(), retailer, "after acceptance");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.OwnershipCannotBeRenounced.selector));
        vm.prank(retailer);
        directory.renounceOwnership();
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, mine));
        vm.prank(mine);
        directory.renounceOwnership();
    }

    // Endpoint

    function test_SetEndpoint_ByAnActiveMemberWithinTheLimit() public {
        _admit(mine, "Mine AG");
        vm.expectEmit(address(directory));
        emit IDirectory.EndpointChanged(mine, "https://mine.example");
        vm.prank(mine);
        directory.setEndpoint("https://mine.example");
        equal(directory.memberOf(mine).endpoint, "https://mine.example", "endpoint");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.EndpointTooLong.selector, 513, 512));
        vm.prank(mine);
        directory.setEndpoint(string(new bytes(513)));
        vm.prank(mine);
        directory.setEndpoint(string(new bytes(512)));
        vm.prank(mine);
        directory.setEndpoint("");
        equal(directory.memberOf(mine).endpoint, "", "cleared");
    }

    function test_SetEndpoint_NotByOutsidersOrTheSuspended() public {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotActiveMember.selector, mine));
        vm.prank(mine);
        directory.setEndpoint("https://mine.example");
        _admit(mine, "Mine AG");
        _suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotActiveMember.selector, mine));
        vm.prank(mine);
        directory.setEndpoint("https://mine.example");
    }

    // Keys

    function test_PublishKey_FromNowOpenEnded() public {
        _admit(mine, "Mine AG");
        vm.expectEmit(address(directory));
        emit IDirectory.KeyPublished(mine, sha256(MATERIAL), IDirectory.KeyUse.Recipient, START, 0);
        bytes32 keyId = _publish(mine, 0, 0);
        equal(keyId, sha256(MATERIAL), "key id");
        IDirectory.Key memory key = directory.keyOf(mine, keyId);
        equal(uint256(key.use), uint256(IDirectory.KeyUse.Recipient), "use");
        equal(key.from, START, "from");
        equal(key.until, 0, "until");
        equal(keccak256(key.material), keccak256(MATERIAL), "material");
        equal(directory.keyIdsOf(mine).length, 1, "listed");
        equal(directory.keyIdsOf(mine)[0], keyId, "listed id");
    }

    function test_PublishKey_PeriodIsHalfOpen() public {
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, START + 5, START + 7);
        isTrue(!directory.keyValidAt(mine, keyId, START + 4), "before");
        isTrue(directory.keyValidAt(mine, keyId, START + 5), "first second");
        isTrue(directory.keyValidAt(mine, keyId, START + 6), "last second");
        isTrue(!directory.keyValidAt(mine, keyId, START + 7), "the end is not in the period");
    }

    function test_PublishKey_NeverBackdatedNorEmpty() public {
        _admit(mine, "Mine AG");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Backdated.selector, START - 1, START));
        _publish(mine, START - 1, 0);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.EmptyPeriod.selector, START + 5, START + 5));
        _publish(mine, START + 5, START + 5);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.EmptyPeriod.selector, START, START - 1));
        _publish(mine, 0, START - 1);
        _publish(mine, START, START + 1);
    }

    function test_PublishKey_OnlyOnceByAnAccount() public {
        _admit(mine, "Mine AG");
        _admit(retailer, "Retailer");
        bytes32 keyId = _publish(mine, 0, START + 1);
        vm.warp(START + 10);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.KeyAlreadyPublished.selector, mine, keyId));
        _publish(mine, 0, 0);
        // Nobody can squat another's key id: it is the account's own.
        equal(_publish(retailer, 0, 0), keyId, "same id, other account");
    }

    function test_PublishKey_NotByOutsidersOrTheSuspended() public {
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotActiveMember.selector, mine));
        _publish(mine, 0, 0);
        _admit(mine, "Mine AG");
        _suspend(mine);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotActiveMember.selector, mine));
        _publish(mine, 0, 0);
    }

    function test_PublishKey_LimitsTheMaterial() public {
        _admit(mine, "Mine AG");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.BadMaterialLength.selector, 0, 4096));
        _publishMaterial(mine, "");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.BadMaterialLength.selector, 4097, 4096));
        _publishMaterial(mine, new bytes(4097));
        _publishMaterial(mine, new bytes(4096));
    }

    function test_PublishKey_LimitsTheNumberOfKeys() public {
        _admit(mine, "Mine AG");
        for (uint256 i = 0; i < 256; ++i) {
            _publishMaterial(mine, abi.encode(i));
        }
        vm.expectRevert(abi.encodeWithSelector(IDirectory.TooManyKeys.selector, mine, 256));
        _publish(mine, 0, 0);
        equal(directory.keyIdsOf(mine).length, 256, "keys");
    }

    function test_RetireKey_NowKeepsThePast() public {
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, 0, 0);
        vm.warp(START + 10);
        vm.expectEmit(address(directory));
        emit IDirectory.KeyRetired(mine, keyId, START + 10);
        vm.prank(mine);
        directory.retireKey(keyId, 0);
        isTrue(directory.keyValidAt(mine, keyId, START + 9), "before");
        isTrue(!directory.keyValidAt(mine, keyId, START + 10), "from then on");
        equal(directory.keyOf(mine, keyId).from, START, "from stays");
    }

    function test_RetireKey_OnlyEarlierNeverLaterNeverBackdated() public {
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, 0, START + 100);
        _retire(mine, keyId, START + 50);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotEarlier.selector, START + 50, START + 50));
        _retire(mine, keyId, START + 50);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotEarlier.selector, START + 100, START + 50));
        _retire(mine, keyId, START + 100);
        vm.warp(START + 40);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.Backdated.selector, START + 39, START + 40));
        _retire(mine, keyId, START + 39);
        vm.warp(START + 60);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotEarlier.selector, START + 60, START + 50));
        _retire(mine, keyId, 0);
    }

    function test_RetireKey_BeforeItsPeriodBeginsEmptiesThePeriod() public {
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, START + 100, 0);
        vm.expectEmit(address(directory));
        emit IDirectory.KeyRetired(mine, keyId, START + 100);
        _retire(mine, keyId, 0);
        equal(directory.keyOf(mine, keyId).until, START + 100, "until");
        isTrue(!directory.keyValidAt(mine, keyId, START + 100), "never valid");
        vm.expectRevert(abi.encodeWithSelector(IDirectory.NotEarlier.selector, START + 100, START + 100));
        _retire(mine, keyId, 0);
    }

    function test_RetireKey_OnlyByTheAccountThatPublishedIt() public {
        _admit(mine, "Mine AG");
        _admit(retailer, "Retailer");
        bytes32 keyId = _publish(mine, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.UnknownKey.selector, retailer, keyId));
        _retire(retailer, keyId, 0);
        vm.expectRevert(abi.encodeWithSelector(IDirectory.UnknownKey.selector, consortium, keyId));
        _retire(consortium, keyId, 0);
    }

    function test_RetireKey_AlsoByTheSuspended() public {
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, 0, 0);
        _suspend(mine);
        vm.warp(START + 1);
        _retire(mine, keyId, 0);
        isTrue(!directory.keyValidAt(mine, keyId, START + 1), "retired");
    }

    function testFuzz_PublishKey_ValidExactlyInItsPeriod(uint64 from, uint64 until, uint64 time) public {
        from = uint64(bound(from, START, type(uint64).max - 1));
        if (until != 0) until = uint64(bound(until, uint256(from) + 1, type(uint64).max));
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, from, until);
        bool expected = time >= from && (until == 0 || time < until);
        isTrue(directory.keyValidAt(mine, keyId, time) == expected, "validity");
    }

    function testFuzz_RetireKey_ChangesNoAnswerForThePast(uint64 until, uint64 wait, uint64 end, uint64 time) public {
        until = until == 0 ? 0 : uint64(bound(until, START + 1, type(uint64).max));
        wait = uint64(bound(wait, 0, 1 << 40));
        end = end == 0 ? 0 : uint64(bound(end, START + wait, type(uint64).max));
        uint64 effective = end == 0 ? START + wait : end;
        vm.assume(until == 0 || effective < until);
        _admit(mine, "Mine AG");
        bytes32 keyId = _publish(mine, 0, until);
        vm.warp(START + wait);
        time = uint64(bound(time, 0, START + wait - 1));
        bool before = directory.keyValidAt(mine, keyId, time);
        _retire(mine, keyId, end);
        isTrue(directory.keyValidAt(mine, keyId, time) == before, "the past changed");
        isTrue(!directory.keyValidAt(mine, keyId, effective), "ended");
    }

    function testFuzz_WasActiveAt_MatchesANaiveSearch(uint32[8] memory waits, uint64 time) public {
        _admit(mine, "Mine AG");
        uint256 clock = START;
        for (uint256 i = 0; i < waits.length; ++i) {
            clock += waits[i] % 3;
            vm.warp(clock);
            if (i % 2 == 0) _suspend(mine);
            else _readmit(mine);
        }
        time = uint64(bound(time, START - 2, clock + 2));
        bool expected = false;
        IDirectory.Period[] memory periods = directory.periodsOf(mine);
        for (uint256 i = 0; i < periods.length; ++i) {
            if (periods[i].from <= time && (periods[i].until == 0 || time < periods[i].until)) expected = true;
        }
        isTrue(directory.wasActiveAt(mine, time) == expected, "as of");
    }

    // Helpers

    function _admit(address who, string memory name) private {
        vm.prank(consortium);
        directory.admit(who, name);
    }

    function _suspend(address who) private {
        vm.prank(consortium);
        directory.suspend(who);
    }

    function _readmit(address who) private {
        vm.prank(consortium);
        directory.readmit(who);
    }

    function _publish(address who, uint64 from, uint64 until) private returns (bytes32) {
        vm.prank(who);
        return directory.publishKey(IDirectory.KeyUse.Recipient, MATERIAL, from, until);
    }

    function _publishMaterial(address who, bytes memory material) private {
        vm.prank(who);
        directory.publishKey(IDirectory.KeyUse.Signing, material, 0, 0);
    }

    function _retire(address who, bytes32 keyId, uint64 until) private {
        vm.prank(who);
        directory.retireKey(keyId, until);
    }

    function _periodsAre(address who, uint64 from, uint64 until) private view {
        IDirectory.Period[] memory periods = directory.periodsOf(who);
        equal(periods.length, 1, "periods");
        equal(periods[0].from, from, "from");
        equal(periods[0].until, until, "until");
    }
}
